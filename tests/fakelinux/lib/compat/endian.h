#define swab(x) (x)
