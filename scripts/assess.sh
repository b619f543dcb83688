#!/bin/sh
# What Sparekey would meet on this Mac, as one line of JSON. It reads and changes nothing: no installation, no network, no key,
# no password, no user name. For any MDM that can run a script as root (docs/coexistence.md, Census).
#
#   sh assess.sh            one line of JSON
#   sh assess.sh --jamf     the same between <result> and </result>, as an extension attribute of Jamf Pro needs it
#   --users none            does not count the users with a secure token either
#   --limit SECONDS         how long one command of macOS may take; default 20
#   --root FOLDER           asks the programs and files under this folder (a fake Mac)
#
# Where an MDM gives no options: change the word behind print_as= below. Options count only before anything else, so that
# what an MDM passes to every script (Jamf Pro: mount point, name, user) is none. The exit status is always 0; what could not be
# read stands in `problems`.
set -u
umask 077
PATH=/usr/bin:/bin:/usr/sbin:/sbin
export PATH LC_ALL=C

# json or jamf
print_as=json

root=
users=count
limit=20
while [ $# -gt 0 ]; do
  case $1 in
    --jamf) print_as=jamf ;;
    --root | --users | --limit)
      [ $# -ge 2 ] || break
      case $1 in --root) root=${2%/} ;; --users) users=$2 ;; *) limit=$2 ;; esac
      shift ;;
    *) break ;;
  esac
  shift
done
case $limit in '' | *[!0-9]*) limit=20 ;; esac

problems=
silent=
facts=
work=
say() {
  line="{\"sparekeyAssess\":1$facts,\"problems\":[$problems]}"
  if [ "$print_as" = jamf ]; then printf '<result>%s</result>\n' "$line"; else printf '%s\n' "$line"; fi
}
# shellcheck disable=SC2329 # called by the trap
finish() {
  say
  [ -z "$work" ] || rm -rf "$work"
  exit 0
}
trap finish EXIT
trap 'problem "ended from outside before everything was asked"; exit 0' INT TERM HUP

# Standard input as a string of JSON: one line, at most 200 bytes. `<`, `>` and `&` are escaped too, because of <result>.
json() {
  tr '\n\t\r' '   ' | tr -d '\000-\037\177' | awk '
    { text = text $0 }
    END {
      sub(/^ +/, "", text); sub(/ +$/, "", text)
      # Not in the middle of a character.
      if (length(text) > 200) { text = substr(text, 1, 200); sub(/[\300-\377][\200-\277]*$/, "", text) }
      print text
    }' | sed 's/\\/\\\\/g; s/"/\\"/g; s/</\\u003c/g; s/>/\\u003e/g; s/&/\\u0026/g; s/.*/"&"/'
}
# fact NAME JSON
fact() { facts="$facts,\"$1\":$2"; }
# text NAME VALUE: null where there is none
text() { if [ -n "$2" ]; then fact "$1" "$(printf '%s' "$2" | json)"; else fact "$1" null; fi; }
problem() { problems="$problems${problems:+,}$(printf '%s' "$1" | json)"; }

work=$(mktemp -d 2>/dev/null) || { work=; problem 'no temporary folder could be made, so nothing was asked'; exit 0; }

# run PROGRAM ARGUMENTS…: its output in $work/out and $work/err, its status in $code. One that did not answer in time is asked
# nothing more.
asked=0
run() {
  # New files each time: one that was given up may still write into its own.
  rm -f "$work/out" "$work/err"
  : >"$work/out"
  : >"$work/err"
  name=${1##*/}
  case " $silent " in *" $name "*) code=silent; return ;; esac
  if [ ! -x "$root$1" ]; then
    code=missing
    silent="$silent $name"
    problem "$1 is not here"
    return
  fi
  program=$root$1
  words="$*"
  shift
  asked=$((asked + 1))
  ended=$work/ended-$asked
  (
    "$program" "$@" </dev/null >"$work/out" 2>"$work/err" &
    echo $! >"$ended.pid"
    wait $!
    echo $? >"$ended.new"
    mv "$ended.new" "$ended"
  ) >/dev/null 2>&1 &
  # Waited for by looking: there is nothing else in sh that ends even where a program cannot be killed.
  steps=0
  until [ -f "$ended" ]; do
    sleep 0.05
    steps=$((steps + 1))
    [ "$steps" -lt $((limit * 20)) ] || break
  done
  if [ -f "$ended" ]; then
    code=$(cat "$ended")
  else
    [ ! -s "$ended.pid" ] || kill -9 "$(cat "$ended.pid")" 2>/dev/null
    rm -f "$work/out" "$work/err"
    : >"$work/out"
    : >"$work/err"
    code=silent
    silent="$silent $name"
    problem "$words: no answer in $limit seconds"
  fi
}
# What the last command printed, without bytes that are no text.
out() { tr -d '\000' <"$work/out"; }
both() { cat "$work/out" "$work/err" | tr -d '\000'; }
# one_of SED-PATTERN: what it finds first
one_of() { sed -n "$1" | head -n 1; }
# yes_or_no WORD: as JSON
yes_or_no() {
  case $1 in
    [Yy][Ee][Ss] | true | 1) printf '"yes"' ;;
    [Nn][Oo] | false | 0) printf '"no"' ;;
    *) printf '"unknown"' ;;
  esac
}

fact at "\"$(date -u +%Y-%m-%dT%H:%M:%SZ)\""
is_root=true
if [ "$(id -u)" != 0 ]; then
  is_root=false
  problem 'not root: the profiles, the escrow file, the Bootstrap Token and the secure tokens can hardly be read'
fi
fact root $is_root

# Which Mac.
run /usr/sbin/ioreg -rd1 -c IOPlatformExpertDevice
text serial "$(out | one_of 's/^.*"IOPlatformSerialNumber" = "\([^"]*\)".*$/\1/p')"
text hardwareUuid "$(out | one_of 's/^.*"IOPlatformUUID" = "\([^"]*\)".*$/\1/p' | tr '[:lower:]' '[:upper:]')"
text model "$(out | one_of 's/^.*"model" = <\{0,1\}"\([^"]*\)".*$/\1/p')"
run /usr/sbin/sysctl -n machdep.cpu.brand_string
chip=$(out | head -n 1)
text chip "$chip"
t2=null
case $chip in
  Apple*) fact processor '"apple"'; t2=false ;;
  *Intel*)
    fact processor '"intel"'
    run /usr/sbin/system_profiler SPiBridgeDataType
    case $code in
      0) if out | grep -q 'T2'; then t2=true; else t2=false; fi ;;
    esac ;;
  *) fact processor null ;;
esac
fact t2 $t2
run /usr/bin/sw_vers -productVersion
text macos "$(out | one_of 's/^\([0-9][0-9.]*\).*$/\1/p')"
run /usr/bin/sw_vers -buildVersion
text build "$(out | one_of 's/^\([0-9A-Za-z]\{1,32\}\)$/\1/p')"

# FileVault. Only whole, known lines count; the user's name in the deferral is not kept.
run /usr/bin/fdesetup status
state=unknown
deferred=false
case $(out | head -n 1) in 'FileVault is On.'*) state=on ;; 'FileVault is Off'*) state=off ;; esac
if out | grep -q '^Encryption in progress'; then state=encrypting; fi
if out | grep -q '^Decryption in progress'; then state=decrypting; fi
if out | grep -q '^Deferred enablement appears to be active'; then deferred=true; fi
fact fileVault "\"$state\""
fact deferred "$deferred"
# `false` may also mean that something went wrong: it is believed twice, and only where FileVault is on.
run /usr/bin/fdesetup haspersonalrecoverykey
has=$(out)
if [ "$has" = false ]; then
  run /usr/bin/fdesetup haspersonalrecoverykey
  if [ "$(out)" != false ] || [ "$state" != on ] || [ -s "$work/err" ] || [ $is_root = false ]; then has=unknown; fi
fi
fact personalKey "$(yes_or_no "$has")"
run /usr/bin/fdesetup hasinstitutionalrecoverykey
fact institutionalKey "$(yes_or_no "$(out)")"

# names_in_asn1 FORM: issuer and serial number from what `openssl asn1parse` prints, tab between them, one recipient a line.
# cms: an EnvelopedData, however it is encoded. certificate: an X.509 certificate.
names_in_asn1() {
  awk -v form="$1" '
    function done() { if (issuer != "" && number != "") { print issuer "\t" number; found++ } issuer = ""; number = "" }
    {
      line = $0
      if (!match(line, /:d= *[0-9]+/)) next
      depth = substr(line, RSTART + 3, RLENGTH - 3) + 0
      tag = line; sub(/^.*(prim|cons): */, "", tag)
      value = ""
      if ((at = index(tag, ":")) > 0) { value = substr(tag, at + 1); tag = substr(tag, 1, at - 1) }
      sub(/ +$/, "", tag)
      if (form == "cms") {
        if (!started) { if (tag == "OBJECT" && tolower(value) ~ /envelopeddata/) started = 1; next }
        if (!set) { if (tag == "INTEGER") version = depth; else if (tag == "SET" && depth == version) set = depth; next }
        if (depth <= set) exit
        if (depth == set + 1) { done(); next }
        if (tag == "INTEGER" && depth == set + 3 && number == "") { number = value; next }
        if (number != "") next
      } else {
        if (depth == 2 && tag == "INTEGER" && number == "") { number = value; next }
        if (depth == 2 && tag == "SEQUENCE") { sequences++; if (sequences > 2) exit }
        if (sequences != 2) next
      }
      if (tag == "OBJECT") attribute = value
      else if (tag ~ /STRING$/ && tag !~ /^(OCTET|BIT)/ && attribute != "") {
        issuer = issuer (issuer == "" ? "" : ", ") attribute "=" value
        attribute = ""
      }
    }
    END { done() }' | sed 's/	0*\([0-9A-Fa-f]\)/	\1/'
}
asn1() { openssl asn1parse -inform DER 2>/dev/null; }
# recipient_json ISSUER SERIAL
recipient_json() { printf '{"issuer":%s,"serial":%s}' "$(printf '%s' "$1" | json)" "$(printf '%s' "$2" | json)"; }

# The escrow payloads: profile, payload identifier, organisation, Location, certificate, one a line, tabs between them. The
# list is a property list in XML; what is between `>` and `<` is read tag by tag, however it is laid out.
escrow_payloads() {
  awk '
    BEGIN { RS = ">" }
    function plain(text) {
      gsub(/[\t\r\n]+/, " ", text); gsub(/&lt;/, "<", text); gsub(/&gt;/, ">", text); gsub(/&quot;/, "\"", text)
      gsub(/&apos;/, "\047", text); gsub(/&amp;/, "\\&", text)
      return text
    }
    {
      at = index($0, "<")
      if (at == 0) next
      content = substr($0, 1, at - 1)
      tag = substr($0, at + 1)
      sub(/ .*$/, "", tag)
      if (tag == "dict" || tag == "array") {
        depth++
        if (depth == 3) { identifier = ""; organisation = ""; escrows = 0 }
        if (depth == 5) { type = ""; uuid = ""; payload = ""; place = ""; named = ""; der = "" }
      } else if (tag == "/dict" || tag == "/array") {
        if (tag == "/dict" && depth == 5) {
          if (type == "com.apple.security.pkcs1" && !(toupper(uuid) in certificate)) certificate[toupper(uuid)] = der
          if (type == "com.apple.security.FDERecoveryKeyEscrow") { escrows++; payloads[escrows] = payload; places[escrows] = place; wanted[escrows] = toupper(named) }
        }
        if (tag == "/dict" && depth == 3)
          for (one = 1; one <= escrows; one++)
            print identifier "\t" payloads[one] "\t" organisation "\t" places[one] "\t" certificate[wanted[one]]
        depth--
      } else if (tag == "/key") key = content
      else if (tag == "/string") {
        if (depth == 3 && key == "ProfileIdentifier") identifier = plain(content)
        if (depth == 3 && key == "ProfileOrganization") organisation = plain(content)
        if (depth == 5 && key == "PayloadType") type = content
        if (depth == 5 && key == "PayloadUUID") uuid = content
        if (depth == 5 && key == "PayloadIdentifier") payload = plain(content)
        if ((depth == 5 || depth == 6) && key == "Location") place = plain(content)
        if ((depth == 5 || depth == 6) && key == "EncryptCertPayloadUUID") named = content
      } else if (tag == "/data" && (depth == 5 || depth == 6) && key == "PayloadContent") { der = content; gsub(/[^A-Za-z0-9+\/=]/, "", der) }
    }'
}

hint=
if [ -f "$root/Library/Managed Preferences/com.apple.security.FDERecoveryKeyEscrow.plist" ]; then
  run /usr/bin/plutil -convert xml1 -o - '/Library/Managed Preferences/com.apple.security.FDERecoveryKeyEscrow.plist'
  hint=$(out | awk 'BEGIN { RS = ">" } { at = index($0, "<"); tag = substr($0, at + 1); content = substr($0, 1, at - 1) }
    tag == "/key" { key = content }
    tag == "/string" && key == "Location" { gsub(/&lt;/, "<", content); gsub(/&gt;/, ">", content); gsub(/&amp;/, "\\&", content); print content; exit }')
  hint=${hint:-'(installed, without a Location)'}
fi
run /usr/bin/profiles -C -o stdout-xml
payloads=null
if [ "$code" = 0 ] && out | grep -q '</plist>'; then
  payloads=
  tab=$(printf '\t')
  out | escrow_payloads | head -n 8 >"$work/payloads"
  while IFS= read -r line; do
    rest=$line
    profile=${rest%%"$tab"*}; rest=${rest#*"$tab"}
    payload=${rest%%"$tab"*}; rest=${rest#*"$tab"}
    organisation=${rest%%"$tab"*}; rest=${rest#*"$tab"}
    location=${rest%%"$tab"*}
    certificate=${rest#*"$tab"}
    recipient=null
    digest=null
    if [ -n "$certificate" ] && printf '%s\n' "$certificate" | openssl base64 -d -A >"$work/certificate" 2>/dev/null && [ -s "$work/certificate" ]; then
      named=$(asn1 <"$work/certificate" | names_in_asn1 certificate)
      [ -z "$named" ] || recipient=$(recipient_json "${named%%"$tab"*}" "${named#*"$tab"}")
      digest=$(openssl dgst -sha256 -r <"$work/certificate" 2>/dev/null | cut -c 1-64 | json)
    fi
    payloads="$payloads${payloads:+,}{\"location\":$(printf '%s' "$location" | json),\"profile\":$(printf '%s' "$profile" | json),\"payload\":$(printf '%s' "$payload" | json),\"organisation\":$(printf '%s' "$organisation" | json),\"certificate\":$digest,\"recipient\":$recipient}"
  done <"$work/payloads"
  payloads="[$payloads]"
  # The list did not show the payload that the preferences have, or not everything to everybody: then nobody knows.
  if [ "$payloads" = '[]' ] && [ -n "$hint" ]; then
    payloads=null
    problem 'the list of profiles has no escrow payload, and the managed preferences have one'
  fi
  if [ "$payloads" = '[]' ] && [ $is_root = false ]; then payloads=null; fi
elif [ "$code" = 0 ] && [ -z "$hint" ] && both | grep -q 'There are no configuration profiles installed'; then
  payloads='[]'
elif [ "$code" != silent ] && [ "$code" != missing ]; then
  problem 'profiles: the installed profiles could not be listed'
fi
fact payloads "$payloads"
text payloadHint "$hint"

# The escrow file: age, size, digest, and for whom it is sealed. LibreSSL, which macOS has, prints ASN.1 without opening anything.
file=$root/var/db/FileVaultPRK.dat
if [ -f "$file" ]; then
  size=$({ wc -c <"$file"; } 2>/dev/null | tr -d ' ')
  run /usr/bin/stat -f %m /var/db/FileVaultPRK.dat
  written=$(out | one_of 's/^\([0-9]\{1,12\}\)$/\1/p')
  age=null
  [ -z "$written" ] || age=$((($(date +%s) - written) / 86400))
  [ "$age" = null ] || [ "$age" -ge 0 ] || age=0
  recipients=
  digest=null
  if [ ! -r "$file" ]; then
    problem 'the escrow file is there and cannot be read'
  elif [ "${size:-0}" -gt 16384 ]; then
    problem 'the escrow file is far too large to be one'
  else
    digest=$(openssl dgst -sha256 -r <"$file" 2>/dev/null | cut -c 1-64)
    digest=${digest:-$(shasum -a 256 <"$file" 2>/dev/null | cut -c 1-64)}
    if [ -n "$digest" ]; then digest=$(printf '%s' "$digest" | json); else digest=null; fi
    asn1 <"$file" | names_in_asn1 cms | head -n 4 >"$work/recipients"
    while IFS="$(printf '\t')" read -r issuer number; do
      recipients="$recipients${recipients:+,}$(recipient_json "$issuer" "$number")"
    done <"$work/recipients"
    [ -n "$recipients" ] || problem 'the recipient of the escrow file could not be read; size and digest stand for it'
  fi
  fact escrowFile "{\"bytes\":${size:-null},\"ageDays\":$age,\"sha256\":$digest,\"recipients\":[$recipients]}"
else
  fact escrowFile null
fi

# Whether macOS can make a key by itself, and who manages this Mac.
run /usr/bin/profiles status -type bootstraptoken
supported=$(both | one_of 's/^.*Bootstrap Token supported on server: *\([A-Za-z]*\).*$/\1/p')
escrowed=$(both | one_of 's/^.*Bootstrap Token escrowed to server: *\([A-Za-z]*\).*$/\1/p')
[ "$supported" != NO ] || escrowed=${escrowed:-NO}
fact bootstrapToken "{\"supported\":$(yes_or_no "$supported"),\"escrowed\":$(yes_or_no "$escrowed")}"
run /usr/bin/profiles status -type enrollment
enrolled=$(out | one_of 's/^MDM enrollment: *\([A-Za-z]*\).*$/\1/p')
approved=unknown
case $enrolled in
  Yes) if out | grep -q '^MDM enrollment: Yes (User Approved)'; then approved=yes; else approved=no; fi ;;
  No) approved=no ;;
esac
server=$(out | one_of 's/^MDM server: *[A-Za-z]*:\/\/\([^\/:?#]*\).*$/\1/p')
fact mdm "{\"enrolled\":$(yes_or_no "$enrolled"),\"userApproved\":$(yes_or_no "$approved"),\"dep\":$(yes_or_no "$(out | one_of 's/^Enrolled via DEP: *\([A-Za-z]*\).*$/\1/p')"),\"server\":$(if [ -n "$server" ]; then printf '%s' "$server" | json; else printf null; fi)}"

# Who could replace the key with a password: counted, never named.
people=null
tokens=null
if [ "$users" != none ]; then
  run /usr/bin/dscl . -list /Users UniqueID
  if [ "$code" = 0 ]; then
    out | awk 'NF >= 2 && $1 !~ /^_/ && $0 !~ /^(root|daemon|nobody) / { sub(/[ \t]+-?[0-9]+[ \t]*$/, ""); print }' | grep -v '^-' | head -n 51 >"$work/users"
    people=$(($(wc -l <"$work/users")))
    tokens=0
    if [ "$people" -gt 50 ]; then
      tokens=null
      problem 'more than 50 users: their secure tokens were not counted'
    else
      while IFS= read -r user; do
        run /usr/sbin/sysadminctl -secureTokenStatus "$user"
        case $(both) in
          *'Secure token is ENABLED'*) [ "$tokens" = null ] || tokens=$((tokens + 1)) ;;
          *'Secure token is DISABLED'*) ;;
          *) tokens=null ;;
        esac
      done <"$work/users"
      [ "$tokens" != null ] || problem 'not every user'"'"'s secure token is known'
    fi
  fi
fi
fact users "$people"
fact secureTokenUsers "$tokens"

# Recovery Lock (Apple silicon) and the firmware password (Intel): where they are set, another secret is asked for first.
lock=unknown
case $chip in
  Apple*)
    if [ -x "$root/usr/libexec/mdmclient" ]; then
      run /usr/libexec/mdmclient QuerySecurityInfo
      lock=$(out | one_of 's/^.*"\{0,1\}IsRecoveryLockEnabled"\{0,1\} = \([01]\);.*$/\1/p')
    fi ;;
  *Intel*)
    if [ -x "$root/usr/sbin/firmwarepasswd" ]; then
      run /usr/sbin/firmwarepasswd -check
      lock=$(out | one_of 's/^Password Enabled: *\([A-Za-z]*\).*$/\1/p')
    fi ;;
esac
fact recoveryLock "$(yes_or_no "$lock")"

# Who else can replace the key: the same places as agent/suspects.ts, and Zentral's.
run /usr/bin/security authorizationdb read system.login.console
mechanisms=$(out | grep -c -e 'Escrow Buddy:' -e 'Crypt:')
if [ "$mechanisms" -gt 0 ]; then mechanisms=$(out); else mechanisms=; fi
found=
# look NAME PATH…
look() {
  name=$1
  shift
  for path in "$@"; do
    if [ -e "$root$path" ]; then
      found="$found${found:+,}\"$name\""
      return
    fi
  done
  case $mechanisms in *">$name:"*) found="$found${found:+,}\"$name\"" ;; esac
}
plugins=/Library/Security/SecurityAgentPlugins
look 'Escrow Buddy' "$plugins/Escrow Buddy.bundle"
look Crypt "$plugins/Crypt.bundle" /Library/Crypt
by_themselves=$found
found=
mechanisms=
look Jamf /usr/local/jamf/bin/jamf
look Intune '/Library/Intune/Microsoft Intune Agent.app'
look Kandji /Library/Kandji
look Fleet /opt/orbit
look Mosyle '/Library/Application Support/Mosyle'
look Addigy /Library/Addigy
look 'Workspace ONE' '/Library/Application Support/AirWatch'
look Munki /usr/local/munki
look Zentral /usr/local/zentral
fact rotators "{\"byThemselves\":[$by_themselves],\"byOrder\":[$found]}"

# What is here of ours.
agent=false
version=
if [ -e "$root/Library/Sparekey/lib/sparekey.mjs" ]; then
  agent=true
  about=$root/Library/Sparekey/lib/package.json
  [ ! -r "$about" ] || version=$(one_of 's/^.*"version": *"\([^"]*\)".*$/\1/p' <"$about")
fi
managed=false
[ ! -e "$root/Library/Managed Preferences/io.sparekey.agent.plist" ] || managed=true
fact sparekey "{\"installed\":$agent,\"version\":$(if [ -n "$version" ]; then printf '%s' "$version" | json; else printf null; fi),\"settings\":$managed}"
