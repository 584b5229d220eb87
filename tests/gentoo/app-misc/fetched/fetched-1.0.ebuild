EAPI=8

DESCRIPTION="A package that is made from what a mirror has"
SRC_URI="https://upstream.invalid/kiln-fetched-1.0.txt"
LICENSE="public-domain"
SLOT="0"
KEYWORDS="amd64 arm64"
S="${WORKDIR}"

src_install() {
	insinto /usr/share/kiln-fetched
	doins "${DISTDIR}/kiln-fetched-1.0.txt"
}
