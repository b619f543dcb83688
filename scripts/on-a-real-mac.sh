#!/bin/sh
# Asks one real Mac the questions that nobody has been able to answer from documents, and keeps what it says.
#
#   sudo sh on-a-real-mac.sh                     asks; changes nothing
#   sudo sh on-a-real-mac.sh --rotate            also replaces the recovery key of THIS Mac, authorized by the key itself
#
# Takes about ten minutes, most of them for reading this and typing. Needs nothing but macOS.
#   --out FOLDER     where the transcripts go; default ./sparekey-transcripts-<date>
#   --identity NAME  also signs one line with the identity of that name in the System keychain
#   --root FOLDER    asks the programs and files under this folder (a fake Mac)
#
# Each transcript is one file: the command, its exit status, its standard output and standard error. Recovery keys in it
# are replaced by KEY-<digest>, serial number and hardware UUID likewise, user names by user1, user2 …: with a salt that is
# made for this run and kept nowhere, so that equal ones can be seen to be equal, and nothing else.
set -u
umask 077
PATH=/usr/bin:/bin:/usr/sbin:/sbin
export PATH LC_ALL=C

root=
out=
rotate=no
identity=
while [ $# -gt 0 ]; do
  case $1 in
    --rotate) rotate=yes ;;
    --out | --root | --identity)
      [ $# -ge 2 ] || { echo "on-a-real-mac: $1 needs a value" >&2; exit 64; }
      case $1 in --out) out=$2 ;; --root) root=${2%/} ;; *) identity=$2 ;; esac
      shift ;;
    --help) sed -n '2,16s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "on-a-real-mac: unknown option $1; see --help" >&2; exit 64 ;;
  esac
  shift
done
if [ -z "$root" ]; then
  [ "$(uname -s)" = Darwin ] || { echo "on-a-real-mac: this is not a Mac" >&2; exit 64; }
  [ "$(id -u)" = 0 ] || { echo "on-a-real-mac: this needs root; run it again with sudo" >&2; exit 77; }
fi
form='^[A-Z0-9]{4}(-[A-Z0-9]{4}){5}$'
old=
if [ "$rotate" = yes ]; then
  echo "This replaces the recovery key of this Mac. Have the present key at hand, and paper for the new one."
  if [ -t 0 ]; then
    printf 'Present recovery key, with its dashes (not shown): '
    trap 'stty echo; exit 130' INT TERM HUP
    stty -echo
    IFS= read -r old
    stty echo
    trap - INT TERM HUP
    echo
  else
    IFS= read -r old
  fi
  printf '%s\n' "$old" | grep -Eq "$form" || { echo "on-a-real-mac: that is no recovery key; nothing was changed" >&2; exit 64; }
fi
out=${out:-./sparekey-transcripts-$(date +%Y%m%d-%H%M%S)}
mkdir -p "$out" || exit 73
work=$(mktemp -d) || exit 73
keep_work=no
# shellcheck disable=SC2329 # called by the trap
finish() { if [ "$keep_work" = no ]; then rm -rf "$work"; fi; }
trap finish EXIT
trap 'exit 130' INT TERM HUP
salt=$(openssl rand -hex 16)
number=0
macos=unknown
sure='seen on a real Mac'
[ -z "$root" ] || sure='answered by a fake Mac'

# The names that are hidden, one a line: <name><tab><what is written in its place>.
names=$work/names
: >"$names"

# Standard input without keys, serial number, hardware UUID and user names.
mask() {
  awk -v salt="$salt" -v digest="$work/digest" -v names="$names" '
    BEGIN {
      tool = "openssl dgst -sha256 -r >" digest
      while ((getline line < names) > 0) { split(line, part, "\t"); hidden[part[1]] = part[2] }
      close(names)
      group = "[A-Z0-9][A-Z0-9][A-Z0-9][A-Z0-9]"
      key = group "-" group "-" group "-" group "-" group "-" group
    }
    # The secret goes to openssl on its standard input, never into its arguments.
    function short(text,   answer) {
      if (!(text in known)) {
        printf "%s%s", salt, text | tool
        close(tool)
        getline answer < digest
        close(digest)
        known[text] = substr(answer, 1, 8)
      }
      return known[text]
    }
    {
      line = $0; done = ""
      while (match(line, key)) {
        done = done substr(line, 1, RSTART - 1) "KEY-" short(substr(line, RSTART, RLENGTH))
        line = substr(line, RSTART + RLENGTH)
      }
      line = done line
      for (name in hidden) {
        done = ""
        put = hidden[name] == "" ? "ID-" short(name) : hidden[name]
        while ((at = index(line, name)) > 0) {
          # A short user name inside a longer word is another word.
          before = at == 1 ? "" : substr(line, at - 1, 1)
          after = substr(line, at + length(name), 1)
          whole = before !~ /[A-Za-z0-9]/ && after !~ /[A-Za-z0-9]/
          done = done substr(line, 1, at - 1) (whole ? put : name)
          line = substr(line, at + length(name))
        }
        line = done line
      }
      print line
    }'
}

# record NAME COMMAND-IN-WORDS EXIT [NOTE]: what lies in $work/out and $work/err becomes a transcript.
record() {
  number=$((number + 1))
  file=$out/$(printf '%02d' "$number")-$1.txt
  {
    printf 'command : %s\nmacos   : %s\nexit    : %s\nsource  : scripts/on-a-real-mac.sh\nsure    : %s\n' "$2" "$macos" "$3" "$sure"
    [ -z "${4:-}" ] || printf 'notes   : %s\n' "$4"
    printf -- '----- stdout -----\n'
    cat "$work/out"
    printf -- '----- stderr -----\n'
    cat "$work/err"
    printf -- '----- end -----\n'
  } | mask >"$file"
  printf '%s  %-34s exit %s\n' "$(printf '%02d' "$number")" "$1" "$3"
}

# Runs "$@" with a limit of $limit seconds; its output in $work/out and $work/err, its status in $code.
limit=60
run() {
  : >"$work/out"
  : >"$work/err"
  if [ ! -x "$1" ]; then
    code='none (this program is not here)'
    return
  fi
  rm -f "$work/code"
  (
    "$@" </dev/null >"$work/out" 2>"$work/err" &
    echo $! >"$work/pid"
    wait $!
    echo $? >"$work/code.new"
    mv "$work/code.new" "$work/code"
  ) &
  tenths=0
  until [ -f "$work/code" ]; do
    sleep 0.1
    tenths=$((tenths + 1))
    [ "$tenths" -ne $((limit * 10)) ] || kill "$(cat "$work/pid")"
    [ "$tenths" -ne $((limit * 10 + 50)) ] || kill -9 "$(cat "$work/pid")"
  done
  wait
  code=$(cat "$work/code")
  [ "$code" -le 128 ] || code="$code (ended by a signal; the limit was $limit seconds)"
}

# ask NAME PROGRAM ARGUMENTS…
ask() {
  name=$1
  program=$2
  shift 2
  run "$root$program" "$@"
  record "$name" "$program $*" "$code"
}

# ask_only PATTERN NAME PROGRAM ARGUMENTS…: keeps the lines with PATTERN; the rest is nobody's business.
ask_only() {
  pattern=$1
  name=$2
  program=$3
  shift 3
  run "$root$program" "$@"
  grep -E "$pattern" "$work/out" >"$work/kept"
  mv "$work/kept" "$work/out"
  record "$name" "$program $*" "$code" "only the lines with: $pattern"
}

# As the person at the Mac and not as root.
ask_as_user() {
  name=$1
  shift
  run "$root/usr/bin/sudo" -n -u "$console" "$@"
  record "$name" "sudo -u <console user> $*" "$code"
}

# What the file looks like from outside: owner, mode, size, time, digest, and the shape of its ASN.1 without its content.
look_at_escrow_file() {
  file=$root/var/db/FileVaultPRK.dat
  : >"$work/err"
  if [ -f "$file" ]; then
    {
      # shellcheck disable=SC2012 # one file with a known name; find has no owner and mode on macOS
      ls -ln "$file" | awk '{ print "mode " $1 "  uid " $3 "  gid " $4 "  bytes " $5 "  time " $6, $7, $8 }'
      openssl dgst -sha256 -r <"$file" | cut -c 1-64
      od -An -tx1 -N 8 "$file"
      openssl asn1parse -inform DER -in "$file" 2>>"$work/err" | sed 's/\[HEX DUMP\]:.*/[HEX DUMP]/'
    } >"$work/out"
    code=0
  else
    echo 'there is no such file' >"$work/out"
    code=1
  fi
  record "$1" '(looks at /var/db/FileVaultPRK.dat)' "$code"
}

console=$("$root/usr/bin/stat" -f %Su /dev/console 2>/dev/null)
{
  "$root/usr/sbin/ioreg" -rd1 -c IOPlatformExpertDevice 2>/dev/null |
    awk -F'"' '/"IOPlatformSerialNumber"|"IOPlatformUUID"/ && length($4) > 3 { print $4 "\t" }'
  "$root/usr/bin/dscl" . -list /Users UniqueID 2>/dev/null | awk '$2 >= 500 || $1 !~ /^(_.*|root|daemon|nobody)$/ { count++; print $1 "\tuser" count }'
  # sysadminctl calls people by their full names.
  "$root/usr/bin/dscl" . -list /Users RealName 2>/dev/null | awk '$1 !~ /^_/ && NF > 1 { $1 = ""; sub(/^ +/, ""); if (length($0) > 3) print $0 "\tFULL-NAME" }'
} >>"$names"
macos="$("$root/usr/bin/sw_vers" -productVersion 2>/dev/null) ($("$root/usr/bin/sw_vers" -buildVersion 2>/dev/null))"

echo "macOS $macos; transcripts go to $out"

# The machine, the boot session, the volume.
ask sw-vers /usr/bin/sw_vers
ask chip /usr/sbin/sysctl -n machdep.cpu.brand_string
ask boot-session /usr/sbin/sysctl -n kern.bootsessionuuid
ask boot-time /usr/sbin/sysctl -n kern.boottime
ask platform /usr/sbin/ioreg -rd1 -c IOPlatformExpertDevice
ask volume /usr/sbin/diskutil info -plist /
ask volume-users /usr/sbin/diskutil apfs listusers /

# FileVault, as root.
ask fdesetup-version /usr/bin/fdesetup version
ask status /usr/bin/fdesetup status
ask status-extended /usr/bin/fdesetup status -extended
ask isactive /usr/bin/fdesetup isactive
ask haspersonalrecoverykey /usr/bin/fdesetup haspersonalrecoverykey
ask hasinstitutionalrecoverykey /usr/bin/fdesetup hasinstitutionalrecoverykey
ask usingrecoverykey /usr/bin/fdesetup usingrecoverykey
ask supportsauthrestart /usr/bin/fdesetup supportsauthrestart
ask list /usr/bin/fdesetup list
ask list-extended /usr/bin/fdesetup list -extended
ask showdeferralinfo /usr/bin/fdesetup showdeferralinfo

# The same without root: which of them answer, and in what words the others refuse.
for verb in status list usingrecoverykey haspersonalrecoverykey; do
  ask_as_user "not-root-$verb" /usr/bin/fdesetup "$verb"
done

# How this session was unlocked: run this again after unlocking with the recovery key, before and after a login.
ask unlocked-by /usr/sbin/ioreg -rd1 -p IODeviceTree -n chosen
ask console-user /usr/bin/stat -f %Su /dev/console
ask secure-token /usr/sbin/sysadminctl -secureTokenStatus "$console"
ask password-changed /usr/bin/dscl . -read "/Users/$console" accountPolicyData

# Whose password could make a new key: of each user the words, without the digests among them.
"$root/usr/bin/dscl" . -list /Users UniqueID 2>/dev/null | awk '$1 !~ /^(_.*|root|daemon|nobody)$/ { print $1 }' >"$work/users"
while IFS= read -r user; do
  ask secure-token-of-each /usr/sbin/sysadminctl -secureTokenStatus "$user"
  run "$root/usr/bin/dscl" . -read "/Users/$user" AuthenticationAuthority IsHidden OriginalNodeName UniqueID
  sed -E 's/[0-9A-Fa-f]{16,}/HEX/g' "$work/out" >"$work/kept"
  mv "$work/kept" "$work/out"
  record account-of-each "/usr/bin/dscl . -read /Users/$user AuthenticationAuthority IsHidden OriginalNodeName UniqueID" "$code"
done <"$work/users"
ask smart-card-policy /usr/bin/plutil -convert xml1 -o - "$root/Library/Managed Preferences/com.apple.security.smartcard.plist"
ask_only 'IOConsoleLocked' screen-locked /usr/sbin/ioreg -n Root -d1

# Escrow: the payload, the file, whether macOS can make a key by itself.
ask escrow-payload /usr/bin/plutil -convert xml1 -o - "$root/Library/Managed Preferences/com.apple.security.FDERecoveryKeyEscrow.plist"
ask_only 'PayloadType|<string>com\.apple\.(security|MCX)' payload-types /usr/bin/profiles -C -o stdout-xml
ask enrolment /usr/bin/profiles status -type enrollment
ask bootstrap-token /usr/bin/profiles status -type bootstraptoken
look_at_escrow_file escrow-file
ask_only 'PRK|escrow' mdmclient-log /usr/bin/log show --last 1d --style compact --predicate 'process == "mdmclient" AND category == "FVEscrow"'

# The identity that a profile brought.
ask identities /usr/bin/security find-identity -p ssl-client /Library/Keychains/System.keychain
ask default-keychain /usr/bin/security default-keychain
if [ -n "$identity" ]; then
  printf 'sparekey\n' >"$work/line"
  limit=10
  ask sign-with-identity /usr/bin/security cms -S -N "$identity" -H SHA256 -i "$work/line" -o "$work/signed" -k /Library/Keychains/System.keychain
  limit=60
fi

# launchd, power, what is running, the way out.
ask job /bin/launchctl print system/io.sparekey.agent
ask_only 'io\.sparekey|disabled services' disabled-jobs /bin/launchctl print-disabled system
ask_only 'XPC_SERVICE_NAME|environment' job-environment /bin/launchctl print system/com.apple.mdmclient.daemon
ask battery /usr/bin/pmset -g batt
ask system-state /usr/bin/pmset -g systemstate
ask_only 'fdesetup|mdmclient|softwareupdate|loginwindow|io\.sparekey|UpdateBrain' processes /bin/ps -axww -o pid=,uid=,args=
ask proxy /usr/sbin/scutil --proxy
ask keyboard /usr/bin/plutil -convert xml1 -o - "$root/Library/Preferences/com.apple.HIToolbox.plist"
ask_only 'AppleLanguages|AppleLocale|<string>' language /usr/bin/plutil -convert xml1 -o - "$root/Library/Preferences/.GlobalPreferences.plist"
ask curl /usr/bin/curl --version
ask_only 'sparekey|Sparekey' background-items /usr/bin/sfltool dumpbtm

# What is installed of ours.
ask package /usr/sbin/pkgutil --pkg-info io.sparekey.agent
ask runtime-signature /usr/bin/codesign -dv /Library/Sparekey/bin/node
ask keychain-addon-signature /usr/bin/codesign -dv /Library/Sparekey/lib/node_modules/keytar/prebuilds/darwin-arm64/keytar.node

if [ "$rotate" = no ]; then
  echo "$number transcripts in $out. Nothing was changed. Read them before you send them to anybody."
  exit 0
fi

# ——— The acts. Two wrong tries at most: the Secure Enclave counts them.

plist() {
  printf '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n'
  printf '<plist version="1.0"><dict><key>Password</key><string>%s</string></dict></plist>\n' "$1"
}

# with_key NAME KEY COMMAND-IN-WORDS ARGUMENTS…: fdesetup with the key on its standard input. No limit of time: a change must
# not be ended in the middle. Its output goes to files, never to a pipe: a reader that dies would take the new key with it.
with_key() {
  name=$1
  key=$2
  words=$3
  shift 3
  began=$(date +%s)
  plist "$key" | "$root/usr/bin/fdesetup" "$@" >"$work/out" 2>"$work/err"
  code=$?
  record "$name" "$words" "$code" "took $(($(date +%s) - began)) s; the key is on standard input, as Password"
}

with_key validate-right "$old" '/usr/bin/fdesetup validaterecovery -inputplist' validaterecovery -inputplist
if [ "$(cat "$work/out")" != true ]; then
  echo "on-a-real-mac: macOS does not say true to that key; nothing was changed" >&2
  exit 77
fi

keep_work=yes
# From here to the end of the change nobody's Ctrl-C reaches fdesetup: it inherits that these are ignored.
trap '' INT TERM HUP
with_key change-by-key "$old" '/usr/bin/fdesetup changerecovery -personal -outputplist -inputplist' changerecovery -personal -outputplist -inputplist
new=$(grep -Eo '[A-Z0-9]{4}(-[A-Z0-9]{4}){5}' "$work/out" | head -n 1)
if [ -z "$new" ]; then
  echo "on-a-real-mac: macOS gave no new key. Its output is kept in $work (root only): look there before anything else." >&2
  echo "on-a-real-mac: most likely the old key is still the right one; check it with: sudo fdesetup validaterecovery" >&2
  exit 77
fi
cp "$work/out" "$work/new-key.plist"
echo
echo "The new recovery key of this Mac is:   $new"
echo "Write it down now. Until this script ends it also lies in $work/new-key.plist (root only)."
if [ -t 0 ]; then
  printf 'Press Return when it is written down. '
  IFS= read -r _
fi

look_at_escrow_file escrow-file-at-once
trap 'exit 130' INT TERM HUP
with_key validate-new "$new" '/usr/bin/fdesetup validaterecovery -inputplist' validaterecovery -inputplist
with_key validate-old "$old" '/usr/bin/fdesetup validaterecovery -inputplist (the key before this one: the first wrong try)' validaterecovery -inputplist
with_key change-by-wrong-key "$old" '/usr/bin/fdesetup changerecovery … (with the key before this one: the second wrong try)' changerecovery -personal -outputplist -inputplist
stray=$(grep -Eo '[A-Z0-9]{4}(-[A-Z0-9]{4}){5}' "$work/out" | head -n 1)
if [ -n "$stray" ]; then
  cp "$work/out" "$work/new-key.plist"
  echo "macOS took the OLD key as authority and made another one. The recovery key of this Mac is now:   $stray"
  if [ -t 0 ]; then
    printf 'Press Return when it is written down. '
    IFS= read -r _
  fi
fi
ask haspersonalrecoverykey-after /usr/bin/fdesetup haspersonalrecoverykey
ask usingrecoverykey-after /usr/bin/fdesetup usingrecoverykey
[ -n "$root" ] || sleep 60
look_at_escrow_file escrow-file-after-a-minute
keep_work=no

echo "$number transcripts in $out, none with a key in it. Read them before you send them to anybody."
