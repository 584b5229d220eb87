EAPI=8

DESCRIPTION="What programs that read ELF files are compiled with, from where the tests' stage3 hides it"
SLOT="0"
KEYWORDS="amd64 arm64"
S="${WORKDIR}"

src_install() {
	doheader -r /usr/share/kiln-test/elfutils/.
}
