const char release[] = CONFIG_LOCALVERSION;
