typedef unsigned long u64;
