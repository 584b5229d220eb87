#warning this driver has seen better days
int noisy;
