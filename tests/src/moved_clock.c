// Moves the wall clock of a process: preloaded, it adds the seconds that stand in a file (a long, mapped) to every answer. Nothing
// here allocates: Debian's libfaketime does before the process has begun, and waits for ever for jemalloc, which asks it for the time.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static volatile long *offset;

__attribute__((constructor)) static void map_offset(void) {
    const char *path = getenv("CLOCK_OFFSET_FILE");
    int file = path ? open(path, O_RDONLY) : -1;
    if (file < 0) _exit(97);
    void *mapped = mmap(NULL, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED) _exit(97);
    offset = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    int failed = (int)syscall(SYS_clock_gettime, clock, at);
    if (!failed && clock == CLOCK_REALTIME && offset) at->tv_sec += *offset;
    return failed;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}

// librdkafka waits until times of this clock, and the kernel's own has not moved.
int pthread_cond_timedwait(pthread_cond_t *restrict signal, pthread_mutex_t *restrict lock, const struct timespec *restrict until) {
    struct timespec kernels = *until;
    if (offset) kernels.tv_sec -= *offset;
    return pthread_cond_clockwait(signal, lock, CLOCK_REALTIME, &kernels);
}

int cnd_timedwait(cnd_t *restrict signal, mtx_t *restrict lock, const struct timespec *restrict until) {
    int failed = pthread_cond_timedwait((pthread_cond_t *)signal, (pthread_mutex_t *)lock, until);
    return failed == 0 ? thrd_success : failed == ETIMEDOUT ? thrd_timedout : thrd_error;
}
