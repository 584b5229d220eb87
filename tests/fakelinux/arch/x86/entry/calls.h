int calls_of_x86;
