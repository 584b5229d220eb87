#define NR_CPUS CONFIG_NR_CPUS
int smp_processor_id(void);
