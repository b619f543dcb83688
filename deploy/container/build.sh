#!/bin/sh
# Builds the image with buildah: no daemon, no privileges beyond what buildah needs.
#
#   sh build.sh --archive sparekey-server-0.1.0-linux-x64.tar.gz --out sparekey-server.tar
#   … --base IMAGE          another base than Debian's slim image, by name and digest
#   … --debian SUITE        makes the base itself from Debian's packages (mmdebstrap), and takes no image from anywhere
#   … --tag NAME            how the image is called (sparekey-server:VERSION)
#
# The result is one OCI archive: podman load -i, skopeo copy oci-archive:…, or docker load (Docker 25 or later).
set -eu

archive=''
out=''
base=''
debian=''
tag=''
usage() { sed -n '2,9p' "$0" | sed 's/^# \{0,1\}//'; }
fail() {
	printf 'sparekey: error: %s\nsparekey: fix: %s\n' "$1" "$2" >&2
	exit "${3:-69}"
}
while [ $# -gt 0 ]; do
	case $1 in
	--archive) archive=${2:?--archive needs a file}; shift ;;
	--out) out=${2:?--out needs a file}; shift ;;
	--base) base=${2:?--base needs an image}; shift ;;
	--debian) debian=${2:?--debian needs a suite}; shift ;;
	--tag) tag=${2:?--tag needs a name}; shift ;;
	--help | -h) usage; exit 0 ;;
	*) usage >&2; exit 64 ;;
	esac
	shift
done
if [ -z "$archive" ] || [ -z "$out" ]; then
	usage >&2
	exit 64
fi
[ -r "$archive" ] || fail "$archive cannot be read" 'make it: npm run -s package:server -- --out FOLDER' 66
command -v buildah >/dev/null || fail 'buildah is not here' 'apt-get install buildah, or use: podman build' 69

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
name=${archive##*/}
version=${name#sparekey-server-}
version=${version%%-linux-*}
tag=${tag:-sparekey-server:$version}
# The same sources give the same image.
epoch=${SOURCE_DATE_EPOCH:-0}

if [ -n "$debian" ]; then
	command -v mmdebstrap >/dev/null || fail 'mmdebstrap is not here' 'apt-get install mmdebstrap, or name a base with --base'
	echo "sparekey: making a base of Debian's packages ($debian)" >&2
	SOURCE_DATE_EPOCH=$epoch mmdebstrap --quiet --variant=minbase --include=libatomic1 "$debian" "$work/base.tar" >&2
	printf 'FROM scratch\nADD base.tar /\n' >"$work/Base"
	buildah bud --quiet --timestamp "$epoch" --tag sparekey-base -f "$work/Base" "$work" >&2
	rm -f "$work/base.tar"
	base=localhost/sparekey-base
fi
cp "$archive" "$work/$name"
buildah bud --timestamp "$epoch" --tag "$tag" ${base:+--build-arg "BASE=$base"} --build-arg "ARCHIVE=$name" -f "$here/Containerfile" "$work" >&2
rm -f "$out"
buildah push --quiet "$tag" "oci-archive:$out:$tag"
printf '%s\n' "$out"
