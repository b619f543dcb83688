# How the job is taken from launchd and given to it.

job="$root/Library/LaunchDaemons/$label.plist"

is_loaded() {
	launchctl print "system/$label" >/dev/null 2>&1
}

# launchd sends SIGTERM, upon which a run finishes its writes, and waits for ExitTimeOut, which is 60 seconds. It answers before
# the job is gone, and "no such process" (3, 113) or "in progress" (36, 37) where somebody else was faster: what counts is
# whether the job is there.
unload() {
	is_loaded || return 0
	launchctl bootout "system/$label" 2>/dev/null
	left=90
	while is_loaded; do
		if [ "$left" -le 0 ]; then
			say 'launchd still has the job 90 seconds after it was told to let it go'
			return 1
		fi
		sleep 3
		left=$((left - 3))
	done
}
