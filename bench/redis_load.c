/* redis_load MIB FILE [hashes]: a redis-server with MIB of values, or of small hashes, and its clients' load:
 * 20,000 requests a second, half of them writes, in steps of a millisecond, until stdin ends. Prints "ready"
 * once it is filled, and keeps in FILE what memory.c keeps there (pace.h). */
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "pace.h"

enum { kValue = 1000, kPerStep = 20, kHash = 350, kHashesAtOnce = 200, kKeysBesideHashes = 1000 };
static const char kSocket[] = "/tmp/redis.sock";

static void fail(const char* what) {
  perror(what);
  exit(1);
}

static int connect_to(const char* path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strcpy(address.sun_path, path);
  for (int attempt = 0; attempt < 3000; attempt++) {
    int redis = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(redis, (struct sockaddr*)&address, sizeof address) == 0) return redis;
    close(redis);
    usleep(10000);
  }
  fail("connect to redis");
  return -1;
}

/* Half of a value is random, half compressible. */
static int put_set(char* to, unsigned key) {
  int size = sprintf(to, "*3\r\n$3\r\nSET\r\n$12\r\nkey:%08u\r\n$%d\r\n", key, kValue);
  for (int at = 0; at < kValue; at += 8) {
    uint64_t word = at < kValue / 2 ? next() : key;
    memcpy(to + size + at, &word, 8);
  }
  memcpy(to + size + kValue, "\r\n", 2);
  return size + kValue + 2;
}

/* What a web application keeps of a user. */
static int put_hash(char* to, unsigned key) {
  char name[32], visits[32], seen[32];
  sprintf(name, "user-%u", key);
  sprintf(visits, "%u", (unsigned)(next() % 1000));
  sprintf(seen, "%llu", (unsigned long long)(1700000000 + next() % 10000000));
  return sprintf(
      to,
      "*8\r\n$4\r\nHSET\r\n$13\r\nuser:%08u\r\n$4\r\nname\r\n$%zu\r\n%s\r\n$6\r\nvisits\r\n$%zu\r\n%s\r\n"
      "$4\r\nseen\r\n$%zu\r\n%s\r\n",
      key, strlen(name), name, strlen(visits), visits, strlen(seen), seen);
}

static int put_get(char* to, unsigned key) {
  return sprintf(to, "*2\r\n$3\r\nGET\r\n$12\r\nkey:%08u\r\n", key);
}

static void send_all(int redis, const char* bytes, size_t size) {
  while (size > 0) {
    ssize_t sent = write(redis, bytes, size);
    if (sent <= 0) fail("send to redis");
    bytes += sent;
    size -= sent;
  }
}

static void receive(int redis, size_t size) {
  static char answers[1 << 16];
  while (size > 0) {
    ssize_t got = read(redis, answers, size < sizeof answers ? size : sizeof answers);
    if (got <= 0) fail("receive from redis");
    size -= got;
  }
}

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const unsigned long bytes = strtoul(argv[1], 0, 10) << 20;
  const unsigned hashes = argc > 3 && strcmp(argv[3], "hashes") == 0 ? (unsigned)(bytes / kHash) : 0;
  const unsigned keys = hashes != 0 ? kKeysBesideHashes : (unsigned)(bytes / kValue);
  pid_t server = fork();
  if (server == 0) {
    int null = open("/dev/null", O_RDWR);
    for (int standard = 0; standard < 3; standard++) dup2(null, standard);
    execl("/usr/bin/redis-server", "redis-server", "--port", "0", "--unixsocket", kSocket, "--save", "",
          (char*)0);
    _exit(127);
  }
  int redis = connect_to(kSocket);
  static char requests[kHashesAtOnce * 300];
  const size_t set_answer = sizeof "+OK\r\n" - 1, get_answer = sizeof "$1000\r\n" - 1 + kValue + 2;
  for (unsigned key = 0; key < hashes;) {
    size_t size = 0, answers = 0;
    for (int n = 0; n < kHashesAtOnce && key < hashes; n++, answers += sizeof ":3\r\n" - 1)
      size += put_hash(requests + size, key++);
    send_all(redis, requests, size);
    receive(redis, answers);
  }
  for (unsigned key = 0; key < keys;) {
    size_t size = 0, answers = 0;
    for (int n = 0; n < kPerStep && key < keys; n++, answers += set_answer)
      size += put_set(requests + size, key++);
    send_all(redis, requests, size);
    receive(redis, answers);
  }
  begin(argv[2]);
  do {
    size_t size = 0, answers = 0;
    for (int n = 0; n < kPerStep; n++) {
      unsigned key = next() % keys;
      if (n % 2) {
        size += put_get(requests + size, key);
        answers += get_answer;
      } else {
        size += put_set(requests + size, key);
        answers += set_answer;
      }
    }
    send_all(redis, requests, size);
    receive(redis, answers);
  } while (step());
  kill(server, SIGKILL);
  waitpid(server, 0, 0);
}
