#!/usr/bin/env bash
#
# Signs all binary packages (GPKG) of a directory as Portage does, and brings its index up to date.
#
#     sign-packages.sh SECRET-KEY DIR

set -euo pipefail
key=$(realpath "$1")
cd "$2"

# A socket's path has to be short.
GNUPGHOME=$(mktemp -d /tmp/kiln-gpg.XXXXXX)
export GNUPGHOME
work=$(mktemp -d)
trap 'gpgconf --kill all; rm -rf "$GNUPGHOME" "$work"' EXIT
gpg --batch --quiet --import "$key"

sign() {
    gpg --batch --quiet --trust-model always --passphrase '' --pinentry-mode loopback "$@" 
}

# What is in a package, in its order, and the manifest's line for each.
sign_package() {
    local package=$1 name member members=(gpkg-1)
    rm -rf "$work/package"
    mkdir "$work/package"
    tar -xf "$package" -C "$work/package"
    name=$(ls "$work/package")
    (
        cd "$work/package/$name"
        rm -f ./*.sig
        for member in metadata.tar.* image.tar.*; do
            sign --detach-sign --output "$member.sig" "$member"
            members+=("$member" "$member.sig")
        done
        for member in "${members[@]}"; do
            printf 'DATA %s %s BLAKE2B %s SHA512 %s\n' "$member" "$(stat -c %s "$member")" \
                "$(b2sum <"$member" | cut -d' ' -f1)" "$(sha512sum <"$member" | cut -d' ' -f1)"
        done | sign --clearsign >"$work/Manifest"
        mv "$work/Manifest" .
        tar -C .. -cf "$work/signed" "${members[@]/#/$name/}" "$name/Manifest"
    )
    mv "$work/signed" "$package"
}

while read -r package; do
    sign_package "$package"
done < <(find . -name '*.gpkg.tar')

# A package's fields come in no certain order, and its path may be the last: each stanza is read to its end.
stanza=()
end_stanza() {
    local line path=
    for line in "${stanza[@]}"; do [[ $line != PATH:* ]] || path=${line#PATH: }; done
    for line in "${stanza[@]}"; do
        case $path:$line in
        :*) echo "$line" ;;
        *:MD5:*) echo "MD5: $(md5sum <"$path" | cut -d' ' -f1)" ;;
        *:SHA1:*) echo "SHA1: $(sha1sum <"$path" | cut -d' ' -f1)" ;;
        *:SIZE:*) echo "SIZE: $(stat -c %s "$path")" ;;
        *:MTIME:*) echo "MTIME: $(stat -c %Y "$path")" ;;
        *) echo "$line" ;;
        esac
    done
    echo
    stanza=()
}
while IFS= read -r line; do
    if [[ -n $line ]]; then stanza+=("$line"); else end_stanza; fi
done < <(cat Packages && echo) >"$work/Packages"
mv "$work/Packages" Packages
gzip -knf Packages
