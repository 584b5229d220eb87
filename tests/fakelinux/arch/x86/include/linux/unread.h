// Nothing includes this.
#define NOT_READ 1
