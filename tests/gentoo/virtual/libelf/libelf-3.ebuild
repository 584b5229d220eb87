EAPI=8

DESCRIPTION="Whatever has the library for ELF files"
SLOT="0/1"
KEYWORDS="amd64 arm64"
RDEPEND="dev-libs/elfutils"
