int calls_of_arm64;
