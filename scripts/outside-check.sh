#!/bin/sh
# Finds a Mac on which Sparekey has fallen silent. It is for the MDM to run, as root, because a job that was switched off cannot
# say so itself. Plain sh, asks only macOS's own programs, changes nothing, needs no network, and prints one line without
# secrets, serial numbers or names.
#
#   sh outside-check.sh [--format jamf|intune|fleet|json] [--hours N] [--root FOLDER]
#
# --hours: how old the agent's status may be (default 72: three days, for Macs that are shut down over a weekend).
#
# What is printed and how it exits, by what each product says of its own scripts (all looked up on 2026-11-23):
#   jamf    An extension attribute: what stands between <result> and </result> is stored, and without the tag nothing. Exits 0.
#           Jamf Pro Documentation 11.16, "Extension Attribute Input Types (macOS)".
#   intune  A custom attribute, type String: what is printed is the result. Exits 0, because with anything else Intune shows an
#           error in place of the result. Microsoft, "Use shell scripts on macOS devices in Intune" (2024-08-08), which also
#           says that a *shell script* counts as failed by its exit status: for that use --format fleet.
#   fleet   A script that a failing policy starts, or a person: the exit status says whether it failed, the output is shown.
#           Fleet, "Automatically run scripts" and "Scripts" (2024-10-07). The policy itself is osquery's, see below.
#   json    One line of JSON; exits as fleet does. Without --format: fleet.
# Exit status of fleet and json: 0 nothing to do, 1 somebody has to look. 64: not understood, in every format.
#
# Products that take no arguments (Jamf's extension attributes and Intune's custom attributes) get a copy whose line
# `format=` says which one they are.
#
# As a policy of Fleet, by osquery alone (it passes while the agent lives):
#   SELECT 1 FROM file WHERE path = '/var/db/io.sparekey.agent.public/status.json' AND mtime > strftime('%s','now') - 259200
#   AND mtime < strftime('%s','now') + 259200;
#
# Words, the first that fits; programs may look for them:
#   not-installed  no job's file and no program    damaged     one of both is missing
#   disabled       switched off by launchctl       not-loaded  launchd does not know the job: Login Items, or launchctl
#   never-ran      no status yet                   silent      the status is too old
#   unreadable     the status is not ours          failing     the last run needs a person
#   alive          none of these

format=fleet
hours=72
root=

PATH=/usr/bin:/bin:/usr/sbin:/sbin
export PATH
LC_ALL=C
export LC_ALL

label=io.sparekey.agent
not_understood() {
	echo "sparekey outside-check: $1" >&2
	exit 64
}

# Jamf gives policy scripts a mount point, a computer name and a user as $1 to $3: what does not begin with -- is passed over.
while [ $# -gt 0 ]; do
	case $1 in
	--format | --hours | --root)
		[ $# -ge 2 ] || not_understood "$1 needs a value"
		case $1 in
		--format) format=$2 ;;
		--hours) hours=$2 ;;
		*) root=${2%/} ;;
		esac
		shift
		;;
	--*) not_understood "there is no option $1" ;;
	esac
	shift
done
case $format in jamf | intune | fleet | json) ;; *) not_understood '--format is jamf, intune, fleet or json' ;; esac
case $hours in '' | *[!0-9]* | ??????*) not_understood '--hours is a whole number up to 99999' ;; esac

job=$root/Library/LaunchDaemons/$label.plist
program=$root/Library/Sparekey/bin/node
bundle=$root/Library/Sparekey/lib/sparekey.mjs
status=$root/var/db/$label.public/status.json

# Under --root, a folder that stands for a Mac, its own programs answer.
run() {
	if [ -n "$root" ] && [ -x "$root$1" ]; then
		one=$root$1
		shift
		"$one" "$@"
	else
		"$@"
	fi
}

# Seconds since 1970. The job writes its status anew in each run that looks, so its time is that of the last one. macOS's stat has
# no -c, and says so; the other way round it would print something else.
modified() {
	stat -c %Y "$status" 2>/dev/null || stat -f %m "$status" 2>/dev/null
}

last_exit=
word=
says=
look() {
	if [ ! -f "$job" ] && [ ! -f "$bundle" ]; then
		word=not-installed says='the package is not installed'
		return
	fi
	if [ ! -f "$job" ] || [ ! -x "$program" ] || [ ! -f "$bundle" ]; then
		word=damaged says='a part of the package is missing'
		return
	fi
	if run /bin/launchctl print-disabled system 2>/dev/null | grep -Eq "\"$label\" => (disabled|true)"; then
		word=disabled says='the job is disabled by launchctl'
		return
	fi
	print=$(run /bin/launchctl print "system/$label" 2>/dev/null)
	code=$?
	# 113: launchd has no such service. Any other failure says nothing about the job; its status does.
	if [ "$code" -eq 113 ]; then
		word=not-loaded says='launchd does not know the job: switched off in Login Items, or booted out'
		return
	fi
	last_exit=$(printf '%s\n' "$print" | sed -n 's/^[[:space:]]*last exit code = \([0-9]\{1,3\}\).*$/\1/p' | head -n 1)
	if [ ! -e "$status" ]; then
		word=never-ran says='the job is loaded and has left no status'
		return
	fi
	if [ -h "$status" ] || [ ! -f "$status" ] || [ ! -r "$status" ]; then
		word=unreadable says='the status cannot be read'
		return
	fi
	when=$(modified)
	case $when in '' | *[!0-9]*)
		word=unreadable says='the status has no time'
		return
		;;
	esac
	age=$((($(date +%s) - when) / 3600))
	# A clock that was set back. By so much, the job would have written its status anew long ago, if it ran.
	if [ "$age" -le "-$hours" ]; then
		word=silent says="the last run is dated $((-age)) hours ahead of this Mac's clock"
		return
	fi
	[ "$age" -ge 0 ] || age=0
	if [ "$age" -ge "$hours" ]; then
		word=silent says="the last run was $age hours ago"
		return
	fi
	# Exit statuses of the agent: 69 backend not reached, 75 later. The others wait for a person.
	case $last_exit in
	'' | 0 | 69 | 75) word=alive says="the last run was $age hours ago" ;;
	*) word=failing says="the last run, $age hours ago, ended with $last_exit" ;;
	esac
}
look

case $format in
jamf)
	echo "<result>$word: $says</result>"
	exit 0
	;;
intune)
	echo "$word: $says"
	exit 0
	;;
json) printf '{"state":"%s","says":"%s","lastExit":%s}\n' "$word" "$says" "${last_exit:-null}" ;;
*) echo "$word: $says" ;;
esac
[ "$word" = alive ]
