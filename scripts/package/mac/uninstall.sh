#!/bin/sh
# Removes the agent from this Mac.
set -u

. "${0%/*}/run.sh"

. "${0%/*}/unload.sh"

. "${0%/*}/load.sh"

notes="$root/private/var/run/$label"

usage='usage: sudo sh uninstall.sh [--remove-state] [--undelivered-too]

Removes the agent, its job and its receipt. FileVault and its recovery key stay as they are, and so do the profiles, which the
MDM removes. What the agent knows stays in /private/var/db/io.sparekey.agent for a later installation; with --remove-state it
goes too, with the log and the items in the keychain. It removes nothing while a recovery key is not in safe keeping yet: nobody
would have it then. --undelivered-too is for a Mac whose backend is gone for good.'

remove_state=no
undelivered_too=no
for one in "$@"; do
	case $one in
	--remove-state) remove_state=yes ;;
	--undelivered-too) undelivered_too=yes ;;
	--help | -h)
		printf '%s\n' "$usage"
		exit 0
		;;
	-*)
		printf '%s\n' "$usage" >&2
		exit 64
		;;
	# Jamf Pro gives every script a volume, the computer's name and a user's.
	*) ;;
	esac
done

# macOS's own copy of the key, which it writes when the key is replaced.
escrowed="$root/private/var/db/FileVaultPRK.dat"

# Why it may be that only this Mac has its key, in $because. Rather once too often: who is sure has --undelivered-too.
is_undelivered() {
	because=''
	if [ -f "$state/journal.json" ]; then
		# Also one that was only begun: the agent has to look which of the two keys is the valid one.
		if ! grep -q '"rotation":null' "$state/journal.json" || ! grep -q '"outbox":\[\]' "$state/journal.json"; then
			because='by its journal'
		elif [ -n "$(find "$escrowed" -newer "$state/journal.json" 2>/dev/null)" ]; then
			because="$escrowed is newer than its journal"
		fi
	elif [ -f "$escrowed" ]; then
		because="$escrowed is there, and no journal"
	fi
	# What fdesetup has said lies in out/, sealed, until it is taken up; of another Mac or volume it was set aside.
	for one in "$state"/out/* "$state"/journal.json.* "$state"/*.out.*; do
		if [ -e "$one" ] || [ -L "$one" ]; then because="$one is there"; fi
	done
	[ -n "$because" ]
}

say_undelivered() {
	say "error: a recovery key of this Mac may not be in safe keeping yet: $because"
	say 'fix: let the agent deliver it (sudo sparekey check-in) and try again; nothing was removed'
}

# In one piece, so that the shell has read all of it before its own file is removed.
remove() {
	if [ "$(id -u)" != 0 ]; then
		say 'error: only root can remove the agent'
		say 'fix: run it with sudo'
		return 77
	fi
	if ! wait_for_run 0; then
		say 'fix: try again in some minutes; nothing was removed'
		return 75
	fi
	if [ "$undelivered_too" = no ] && is_undelivered; then
		say_undelivered
		return 75
	fi
	if ! unload; then
		say 'fix: try again; nothing was removed'
		return 75
	fi
	# Between the look and the end of the job it may have begun to replace the key; fdesetup outlives its run.
	if ! wait_for_run 0; then
		load
		say 'fix: try again in some minutes; nothing was removed'
		return 75
	fi
	if [ "$undelivered_too" = no ] && is_undelivered; then
		load
		say_undelivered
		return 75
	fi
	rm -f "$job" "$root/private/etc/newsyslog.d/$label.conf" "$root/private/etc/paths.d/$label"
	rm -f "$notes.quiet" "$notes.boot" "$notes.compiled"
	rm -rf "$root/Library/Sparekey"
	if [ "$remove_state" = yes ]; then
		rm -rf "$state" "$state.public" "$root/Library/Logs/Sparekey"
		# One item after another, until there is none; bounded, should one not be removable.
		left=50
		while [ "$left" -gt 0 ] && security delete-generic-password -s "$label" "$root/Library/Keychains/System.keychain" >/dev/null 2>&1; do
			left=$((left - 1))
		done
	fi
	# Without this, Munki and others believe that it is installed. No receipt: it was installed by hand.
	if pkgutil --pkg-info "$label" >/dev/null 2>&1 && ! pkgutil --forget "$label" >/dev/null; then
		say 'error: the receipt could not be forgotten'
		say "fix: sudo pkgutil --forget $label"
		return 70
	fi
	if [ "$remove_state" = yes ]; then say 'removed, with all that it knew'; else say "removed; what it knew is in $state"; fi
	return 0
}
remove
exit
