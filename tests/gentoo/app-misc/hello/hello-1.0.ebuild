EAPI=8

DESCRIPTION="A package that is compiled"
SLOT="0"
KEYWORDS="amd64 arm64"
S="${WORKDIR}"

src_compile() {
	printf '#include <stdio.h>\nint main(void) { return puts("hello from a package") < 0; }\n' >hello.c || die
	"${CHOST}-gcc" ${CFLAGS} -o hello hello.c || die
}

src_install() {
	dobin hello
}
