#!/bin/sh
# Has launchd read the agent's job anew, when the run that is alive has ended. For an installation that the agent itself asked
# for; safe at any time, by root.
set -u

. "${0%/*}/run.sh"

. "${0%/*}/unload.sh"

. "${0%/*}/load.sh"

# Seconds: as long as an installation may take.
wait_for_run 900
unload
load
