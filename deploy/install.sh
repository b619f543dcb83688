#!/bin/sh
# Installs, upgrades, rolls back or removes the backend on a Linux machine with systemd. The data folder is never touched.
#
#   sudo sh install.sh                     installs this release beside the ones before it, and uses it
#   sudo sh install.sh --use VERSION       goes back (or on) to a release that lies in /opt/sparekey
#   sudo sh install.sh --uninstall         removes programs and units; keeps /var/lib/sparekey and /etc/sparekey
#   … --root FOLDER                        into a folder that becomes a machine later; starts nothing
#   … --without-socket                     no socket at port 443: the ports of settings.json are used, also after upgrades
#   … --with-socket                        the socket again
set -eu
# The backend's own user has to get through to its programs, whatever the machine's usual modes are.
umask 022

root=
use=
act=install
# Empty: as it was the last time.
socket=
usage() { sed -n '2,9p' "$0" | sed 's/^# \{0,1\}//'; }
fail() {
	printf 'sparekey: error: %s\nsparekey: fix: %s\n' "$1" "$2" >&2
	exit "${3:-78}"
}
while [ $# -gt 0 ]; do
	case $1 in
	--root) root=${2:?--root needs a folder}; shift ;;
	--use) use=${2:?--use needs a version}; act=use; shift ;;
	--uninstall) act=uninstall ;;
	--without-socket) socket=no ;;
	--with-socket) socket=yes ;;
	--help | -h) usage; exit 0 ;;
	*) usage >&2; exit 64 ;;
	esac
	shift
done

programs=$root/opt/sparekey
units=$root/usr/local/lib/systemd/system
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
# Under another root nothing runs yet.
live() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

[ "$(id -u)" = 0 ] || fail 'this installs for the whole machine' 'run it with sudo' 77
if [ -z "$root" ] && [ ! -d /run/systemd/system ]; then
	fail 'systemd does not run this machine' 'use the container (container/README.md), or start bin/sparekey-server by a supervisor of your own'
fi

remove_units() {
	for unit in sparekey.service sparekey.socket sparekey-backup.timer sparekey-backup.service sparekey-drill.timer sparekey-drill.service; do
		if live && [ -e "$units/$unit" ]; then systemctl disable --now "$unit" >/dev/null 2>&1 || :; fi
		rm -f "$units/$unit"
	done
	rm -f "$root/usr/local/lib/sysusers.d/sparekey.conf"
}

# One rename: at no moment is there no release, and none that is half there.
use_release() {
	[ -x "$programs/$1/bin/node" ] || fail "there is no release $1 in $programs" "name one that lies there: ls $programs" 66
	# Programs of one release under units of another would be the end of it.
	[ -e "$programs/$1/systemd/sparekey.service" ] || fail "the release $1 in $programs has no units: it is not whole" 'unpack its archive again and run the install.sh inside of it' 66
	ln -sfn "$1" "$programs/.next"
	mv -T "$programs/.next" "$programs/current"
}

# The units of the release that is used: another release's may name options that it does not know.
put_units() {
	from=$programs/$1/systemd
	# Without a socket once, without a socket until it is asked for: the ports of settings.json are what a proxy knows.
	if [ -z "$socket" ]; then
		socket=yes
		if [ -e "$units/sparekey.service" ] && [ ! -e "$units/sparekey.socket" ]; then socket=no; fi
	fi
	# Before anything is laid down: systemd stops what requires a socket together with the socket.
	serving=no
	if live && { systemctl is-active --quiet sparekey.service || systemctl is-failed --quiet sparekey.service; }; then serving=yes; fi
	had_socket=no
	if [ -e "$units/sparekey.socket" ]; then had_socket=yes; fi
	# First the socket: a service without one, as it would lie here if this ended in between, says that none is wanted.
	if [ "$socket" = yes ]; then install -m 0644 "$from/sparekey.socket" "$units/sparekey.socket"; fi
	for unit in "$from"/*.service "$from"/*.timer; do
		install -m 0644 "$unit" "$units/${unit##*/}"
	done
	if [ "$socket" = no ]; then
		sed -i '/sparekey\.socket/d' "$units/sparekey.service"
		if live && [ "$had_socket" = yes ]; then systemctl disable --now sparekey.socket >/dev/null 2>&1 || :; fi
		rm -f "$units/sparekey.socket"
		echo 'sparekey: without a socket at port 443: the ports of settings.json are used (--with-socket for the other way)'
	fi
}

# Whether it serves, and not only whether it was started: a full disk or a mistake in the settings is known a second later.
restart() {
	live || return 0
	systemctl daemon-reload
	[ "$serving" = yes ] || return 0
	systemctl reset-failed sparekey.service sparekey.socket 2>/dev/null || :
	if [ -e "$units/sparekey.socket" ]; then systemctl start sparekey.socket || :; fi
	since=$(date '+%Y-%m-%d %H:%M:%S')
	systemctl restart sparekey.service || :
	left=90
	while [ "$left" -gt 0 ]; do
		if systemctl is-failed --quiet sparekey.service; then break; fi
		if journalctl --quiet --no-pager -o cat -u sparekey.service --since "$since" 2>/dev/null | grep -q '^ready: '; then
			echo 'sparekey: the backend was started again, and serves'
			return 0
		fi
		sleep 1
		left=$((left - 1))
	done
	# The unit has failed before the last lines of it are in the journal, and those say what to do.
	journalctl --sync 2>/dev/null || :
	journalctl --quiet --no-pager -o cat -n 12 -u sparekey.service --since "$since" >&2 || :
	fail 'the backend does not serve with this release; the lines above say why' "mend that, then: systemctl restart sparekey.service. Or back: sudo sh $programs/VERSION/install.sh --use VERSION" 75
}

install_release() {
	version=$(cat "$here/VERSION") || fail "$here is not an unpacked release" 'unpack the archive and run the install.sh inside of it'
	# Before anything is changed: what cannot start here is not installed.
	said=$("$here/bin/node" --version 2>&1) || {
		case $said in
		*libatomic*) fail 'the runtime needs libatomic.so.1, which is not on this machine' 'apt-get install libatomic1, or dnf install libatomic' ;;
		*) fail "the runtime does not start here: $said" 'take the archive for this processor (x64 or arm64); it needs glibc 2.28 or later' ;;
		esac
	}
	mkdir -p "$programs" "$units" "$root/usr/local/lib/sysusers.d" "$root/usr/local/bin"
	if [ "$here" != "$programs/$version" ]; then
		rm -rf "$programs/.$version.part" "$programs/.$version.old"
		cp -R "$here" "$programs/.$version.part"
		chown -R 0:0 "$programs/.$version.part"
		# Unpacked by whoever, with whatever modes.
		chmod -R u=rwX,go=rX "$programs/.$version.part"
		# On the disk before it has its name: after a power cut there would be programs of no length, and the link leads to them.
		sync
		# The same version again: what a backend runs from stays whole until the new one lies in its place.
		if [ -e "$programs/$version" ]; then mv -T "$programs/$version" "$programs/.$version.old"; fi
		mv -T "$programs/.$version.part" "$programs/$version"
		rm -rf "$programs/.$version.old"
	fi
	use_release "$version"
	for command in sparekey-server sparekeyctl; do ln -sfn "/opt/sparekey/current/bin/$command" "$root/usr/local/bin/$command"; done
	install -m 0644 "$here/systemd/sparekey.sysusers.conf" "$root/usr/local/lib/sysusers.d/sparekey.conf"
	new_timers=''
	for timer in sparekey-backup.timer sparekey-drill.timer; do
		[ -e "$units/$timer" ] || new_timers="$new_timers $timer"
	done
	put_units "$version"
	if [ -n "$root" ]; then
		systemd-sysusers --root="$root" >/dev/null 2>&1 || :
	else
		systemd-sysusers sparekey.conf
	fi
	mkdir -p "$root/etc/sparekey"
	chmod 0700 "$root/etc/sparekey"
	restart
	# On by default, where nobody has switched them off: without a data folder they do nothing.
	# shellcheck disable=SC2086 # one word for each
	if live && [ -n "$new_timers" ]; then systemctl enable --now $new_timers >/dev/null 2>&1; fi
	echo "sparekey: release $version is installed in /opt/sparekey/$version"
	if [ ! -e "$root/var/lib/sparekey/data/settings.json" ]; then
		cat <<-'EOF'
			sparekey: next, as root:
			  install -d -o sparekey -g sparekey -m 0700 /var/lib/sparekey
			  install -m 0600 /dev/null /etc/sparekey/passphrase     # then write the escrow key's passphrase into it
			  sudo -u sparekey sparekey-server init --help           # makes the data folder; its documents: /opt/sparekey/current/docs
			  systemctl enable --now sparekey.socket sparekey.service
		EOF
	fi
}

case $act in
install) install_release ;;
use)
	use_release "$use"
	put_units "$use"
	restart
	echo "sparekey: release $use is used now"
	;;
uninstall)
	remove_units
	rm -rf "$programs" "$root/usr/local/bin/sparekey-server" "$root/usr/local/bin/sparekeyctl"
	if live; then systemctl daemon-reload; fi
	echo 'sparekey: removed; the keys are still in /var/lib/sparekey, and the passphrase in /etc/sparekey'
	;;
esac
