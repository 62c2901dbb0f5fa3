/* The witness: preloaded into a process, it writes down in which order the process changes and
   syncs the files below $WITNESS_ROOT, into the file $WITNESS_LOG. See power.py, which reads that.

   A record: op u8, synced u8, path length u16, offset u64, size u64; the path; size bytes.
   ops: w write, s sync, t truncate (to offset), c create, r rename (the bytes are the new path),
   u unlink. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *root;
static size_t root_size;
static int notes = -1;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    root = getenv("WITNESS_ROOT");
    root_size = root ? strlen(root) : 0;
    const char *log = getenv("WITNESS_LOG");
    if (log) notes = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int ours(const char *path) {
    return notes >= 0 && root_size && !strncmp(path, root, root_size) && path[root_size] == '/';
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    if (size < 0) return 0;
    path[size] = 0;
    if (size > 10 && !strcmp(path + size - 10, " (deleted)")) return 0; /* has no name to be found by */
    return ours(path);
}

static void note(char op, int synced, const char *path, uint64_t offset, const void *data, uint64_t size) {
    struct __attribute__((packed)) { uint8_t op, synced; uint16_t path; uint64_t offset, size; } head;
    const char *name = path + root_size + 1;
    head.op = op, head.synced = synced, head.path = strlen(name), head.offset = offset, head.size = size;
    struct iovec parts[3] = {{&head, sizeof head}, {(void *)name, head.path}, {(void *)data, size}};
    ssize_t all = sizeof head + head.path + size;
    if (syscall(SYS_writev, notes, parts, 3) != all) abort();
}

static void wrote(int fd, uint64_t offset, const void *data, ssize_t size) {
    char path[PATH_MAX];
    int before = errno;
    if (size > 0 && path_of(fd, path)) {
        int flags = fcntl(fd, F_GETFL);
        note('w', (flags & O_DSYNC) != 0, path, offset, data, size);
    }
    errno = before;
}

/* The lock is held over call and note: the order of the notes is that of the calls. */
#define WATCHED(type, call, after) \
    pthread_mutex_lock(&lock); \
    type got = call; \
    after; \
    pthread_mutex_unlock(&lock); \
    return got

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    WATCHED(ssize_t, REAL(pwrite)(fd, data, size, offset), wrote(fd, offset, data, got));
}
ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset) { return pwrite(fd, data, size, offset); }

static uint64_t at(int fd) { return lseek(fd, 0, SEEK_CUR); }

ssize_t write(int fd, const void *data, size_t size) {
    WATCHED(ssize_t, REAL(write)(fd, data, size), wrote(fd, at(fd) - got, data, got));
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    pthread_mutex_lock(&lock);
    ssize_t got = REAL(writev)(fd, parts, count), left = got;
    uint64_t offset = at(fd) - got;
    for (int i = 0; i < count && left > 0; i++) {
        ssize_t size = left < (ssize_t)parts[i].iov_len ? left : (ssize_t)parts[i].iov_len;
        wrote(fd, offset, parts[i].iov_base, size);
        offset += size, left -= size;
    }
    pthread_mutex_unlock(&lock);
    return got;
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    pthread_mutex_lock(&lock);
    ssize_t got = REAL(pwritev)(fd, parts, count, offset), left = got;
    for (int i = 0; i < count && left > 0; i++) {
        ssize_t size = left < (ssize_t)parts[i].iov_len ? left : (ssize_t)parts[i].iov_len;
        wrote(fd, offset, parts[i].iov_base, size);
        offset += size, left -= size;
    }
    pthread_mutex_unlock(&lock);
    return got;
}

static void synced(int fd, int got) {
    char path[PATH_MAX];
    int before = errno;
    if (!got && path_of(fd, path)) note('s', 1, path, 0, "", 0);
    errno = before;
}

int fsync(int fd) { WATCHED(int, REAL(fsync)(fd), synced(fd, got)); }
int fdatasync(int fd) { WATCHED(int, REAL(fdatasync)(fd), synced(fd, got)); }

int msync(void *from, size_t size, int flags) {
    (void)from, (void)size, (void)flags;
    abort(); /* it would say that something is written through a map, which is not seen here */
}

int ftruncate(int fd, off_t size) {
    char path[PATH_MAX];
    WATCHED(int, REAL(ftruncate)(fd, size), if (!got && path_of(fd, path)) note('t', 0, path, size, "", 0));
}
int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }

static int opened(int folder, const char *path, int flags, mode_t mode) {
    char full[PATH_MAX];
    struct stat was;
    pthread_mutex_lock(&lock);
    int there = !(flags & O_CREAT) || !fstatat(folder, path, &was, 0);
    int got = syscall(SYS_openat, folder, path, flags, mode);
    int before = errno;
    if (got >= 0 && path_of(got, full)) {
        if (!there) note('c', 0, full, 0, "", 0);
        else if (flags & O_TRUNC) note('t', 0, full, 0, "", 0);
    }
    errno = before;
    pthread_mutex_unlock(&lock);
    return got;
}

#define MODE(flags) \
    mode_t mode = 0; \
    if (flags & (O_CREAT | __O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

int open(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE(flags) return opened(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE(flags) return opened(folder, path, flags, mode); }

static void renamed(const char *from, const char *to) {
    if (ours(from) && ours(to)) note('r', 0, from, 0, to + root_size + 1, strlen(to) - root_size - 1);
}

int rename(const char *from, const char *to) {
    WATCHED(int, REAL(rename)(from, to), if (!got) renamed(from, to));
}

int unlink(const char *path) {
    WATCHED(int, REAL(unlink)(path), if (!got && ours(path)) note('u', 0, path, 0, "", 0));
}
