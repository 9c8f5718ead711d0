// Preloaded into a Redis, whose TIME is gettimeofday(): adds the seconds that the file $CLOCK holds.

#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    char text[32] = "";
    int rc = syscall(SYS_gettimeofday, tv, zone);
    int file = open(getenv("CLOCK"), O_RDONLY);
    if (rc == 0 && tv != NULL && file >= 0 && read(file, text, sizeof(text) - 1) > 0) {
        tv->tv_sec += atol(text);
    }
    if (file >= 0) {
        close(file);
    }
    return rc;
}
