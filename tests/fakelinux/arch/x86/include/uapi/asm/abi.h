#define X86_ABI 1
