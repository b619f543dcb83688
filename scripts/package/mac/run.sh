# What the scripts of the package share. The package puts this text into each of them: Installer keeps them in a folder that is
# gone afterwards, and an MDM is given the uninstaller as one file.

PATH=/usr/bin:/bin:/usr/sbin:/sbin
export PATH
# Before every path of the Mac that runs this.
root=''

label='io.sparekey.agent'
state="$root/private/var/db/$label"

this_boot=$(sysctl -n kern.bootsessionuuid 2>/dev/null | tr '[:lower:]' '[:upper:]')

say() {
	printf 'sparekey: %s\n' "$*" >&2
}

# A run of the agent is alive: its lock names its process and its boot session. A pid is given again to others, so the process
# has to be root's, and ours by its arguments. The pid is in $pid then, and what runs on this Mac in $processes.
is_running() {
	processes=$(ps -axww -o pid=,uid=,args= 2>/dev/null)
	[ -f "$state/lock" ] || return 1
	# It is one line of JSON without an end of line, so `read` has it and says that it failed.
	lock=''
	{ read -r lock <"$state/lock"; } 2>/dev/null || :
	pid=${lock#*'"pid":'}
	pid=${pid%%[!0-9]*}
	boot=${lock#*'"boot":"'}
	boot=${boot%%'"'*}
	[ -n "$pid" ] || return 1
	[ "$boot" = unknown ] || [ "$boot" = "$this_boot" ] || return 1
	printf '%s\n' "$processes" | grep -Eq "^ *$pid +0 .*sparekey"
}

# fdesetup is replacing the recovery key. It outlives the run that started it. After is_running. Only root can: whatever else
# has that name belongs to somebody who wants to hold this up.
is_changing() {
	printf '%s\n' "$processes" | grep -Eq '^ *[0-9]+ +0 +([^ ]*/)?fdesetup changerecovery'
}

# Seconds. Nothing is lost by a run that is ended in the middle, but one that ends by itself is the calmer course.
patience=30
# fdesetup takes seconds as a rule, and then the new key is delivered.
patience_rotating=120

# Waits for the end of a run that is alive, as long as it may take or so many seconds, whichever is longer.
wait_for_run() {
	waited=0
	while :; do
		most=$patience
		running=no
		is_running && running=yes
		if is_changing; then
			most=$patience_rotating
		elif [ "$running" = no ]; then
			return 0
		elif grep -q '"rotation":{' "$state/journal.json" 2>/dev/null; then
			# Before and after fdesetup itself.
			most=$patience_rotating
		fi
		[ "$1" -gt "$most" ] && most=$1
		if [ "$waited" -ge "$most" ]; then
			say "a run of the agent has not ended in $most seconds"
			return 1
		fi
		[ "$waited" -eq 0 ] && say 'waiting for a run of the agent to end'
		sleep 5
		waited=$((waited + 5))
	done
}
