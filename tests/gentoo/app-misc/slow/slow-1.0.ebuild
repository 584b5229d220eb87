EAPI=8

DESCRIPTION="A package that takes long enough to be killed in the middle of it"
SLOT="0"
KEYWORDS="amd64 arm64"
S="${WORKDIR}"

src_compile() {
	einfo "this takes a while"
	sleep 15
}

src_install() {
	insinto /usr/share/slow
	echo done >stamp || die
	doins stamp
}
