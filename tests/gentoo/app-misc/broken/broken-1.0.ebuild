EAPI=8

DESCRIPTION="A package that does not compile"
SLOT="0"
KEYWORDS="amd64 arm64"
S="${WORKDIR}"

src_compile() {
	echo 'int main(void) { return not_declared; }' >broken.c || die
	"${CHOST}-gcc" ${CFLAGS} -o broken broken.c || die "broken.c does not compile"
}
