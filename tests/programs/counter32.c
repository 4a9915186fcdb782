// A 32-bit program without a libc, since few machines have a 32-bit one: prints 1, 2, 3, ... ten a second.
static int call(int number, int first, int second, int third) {
  int result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(third) : "memory");
  return result;
}

enum { WRITE = 4, NANOSLEEP = 162 };

void _start(void) {
  for (int number = 1;; ++number) {
    char text[12];
    int at = sizeof text - 1, left = number;
    text[at] = '\n';
    for (; left > 0; left /= 10) text[--at] = (char)('0' + left % 10);
    call(WRITE, 1, (int)(text + at), (int)sizeof text - at);
    const int tenth[2] = {0, 100000000};
    call(NANOSLEEP, (int)tenth, 0, 0);
  }
}
