# "Bootstrap failed: 5: Input/output error" is said of many things, and among them of a job whose predecessor is not quite gone.
load() {
	launchctl enable "system/$label" 2>/dev/null
	left=30
	while :; do
		# 5 is also said of a job that is loaded already: what counts is whether it is there.
		answer=$(launchctl bootstrap system "$job" 2>&1)
		is_loaded && break
		left=$((left - 1))
		if [ "$left" -le 0 ]; then
			say "launchd does not load the job: $answer"
			say 'fix: an admin looks whether it is switched off in System Settings, General, Login Items; the job starts with the next start of the Mac'
			return 1
		fi
		sleep 1
	done
	# Seen after a bootstrap that followed a bootout: loaded, and not started. Without -k a run that is alive goes on.
	launchctl kickstart "system/$label" >/dev/null 2>&1
	return 0
}
