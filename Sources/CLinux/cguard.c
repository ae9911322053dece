#define _GNU_SOURCE
#include "cguard.h"
#include "clinux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/magic.h>
#include <linux/watchdog.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

uint64_t cguard_load(const void *page, size_t word) { return atomic_load((const _Atomic uint64_t *)page + word); }

void cguard_store(void *page, size_t word, uint64_t value) { atomic_store((_Atomic uint64_t *)page + word, value); }

// The half of the word that a futex can wait on.
static uint32_t *half(void *page, size_t word) {
    uint32_t *halves = (uint32_t *)((uint64_t *)page + word);
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? halves : halves + 1;
}

void cguard_ring(void *page, size_t word) {
    atomic_fetch_add((_Atomic uint64_t *)page + word, 1);
    syscall(SYS_futex, half(page, word), FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void cguard_wait(void *page, size_t word, uint64_t heard, int64_t nanoseconds) {
    if (nanoseconds <= 0) return;
    struct timespec time = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    syscall(SYS_futex, half(page, word), FUTEX_WAIT, (uint32_t)heard, &time, NULL, 0);
}

int cguard_is_in_memory(int file) {
    struct statfs facts;
    return fstatfs(file, &facts) == 0 && facts.f_type == TMPFS_MAGIC;
}

// Processes

// The text of a small file of /proc, ended by a zero byte. Its length; -1 and errno.
static ssize_t content(int proc, const char *name, char *text, size_t room) {
    int file = openat(proc, name, O_RDONLY | O_CLOEXEC);
    if (file < 0) return -1;
    ssize_t count = read(file, text, room - 1);
    int code = errno;
    close(file);
    errno = code;
    text[count > 0 ? count : 0] = 0;
    return count;
}

// What cannot be told counts as alive: others rely on the end of every process. 0: surely gone, or a zombie.
static int is_alive(int proc, const char *pid, int32_t *parent) {
    char name[64], text[1024];
    snprintf(name, sizeof name, "%s/stat", pid);
    *parent = 0;
    if (content(proc, name, text, sizeof text) <= 0) return errno != ENOENT && errno != ESRCH;
    // The second field is the name in parentheses and may hold any byte; then come the state and the parent.
    char *rest = strrchr(text, ')'), state = 0;
    if (!rest || sscanf(rest + 1, " %c %d", &state, parent) != 2) return 1;
    return state != 'Z' && state != 'X';
}

static int is_server(int proc, const char *pid) {
    char name[64], text[64];
    snprintf(name, sizeof name, "%s/comm", pid);
    if (content(proc, name, text, sizeof text) <= 0) return errno != ENOENT && errno != ESRCH;
    return !strcmp(text, "postgres\n") || !strcmp(text, "postmaster\n");
}

// A program with file capabilities hides its directory from its own user.
static int is_hidden_server(int proc, const char *pid) {
    struct stat facts;
    if (geteuid() == 0 || fstatat(proc, pid, &facts, 0) < 0) return 0;
    if (facts.st_uid != geteuid() && facts.st_uid != 0) return 0;
    return is_server(proc, pid);
}

static int lives_in(int proc, const char *pid, const char *directory) {
    static const char gone[] = " (deleted)";
    char name[64], place[PATH_MAX + 64];
    snprintf(name, sizeof name, "%s/cwd", pid);
    ssize_t count = readlinkat(proc, name, place, sizeof place - 1);
    if (count < 0) return errno == EACCES && is_hidden_server(proc, pid);
    place[count] = 0;
    size_t length = strlen(directory);
    if (strncmp(place, directory, length)) return 0;
    return !place[length] || !strcmp(place + length, gone);
}

static int stands_at(int proc, const char *pid, const cguard_place *place) {
    char name[64];
    struct stat facts;
    if (!is_server(proc, pid)) return 0;
    snprintf(name, sizeof name, "%s/cwd", pid);
    return fstatat(proc, name, &facts, 0) == 0 && facts.st_dev == place->device && facts.st_ino == place->number;
}

// By name, or, with a place, by that and not by name.
static long processes(int proc, const char *directory, const cguard_place *place, cguard_process *found, size_t room) {
    struct entry { uint64_t inode; int64_t offset; unsigned short length; unsigned char kind; char name[]; };
    _Alignas(struct entry) char buffer[32768];
    size_t count = 0;
    if (lseek(proc, 0, SEEK_SET) < 0) return -1;
    for (;;) {
        long bytes = syscall(SYS_getdents64, proc, buffer, sizeof buffer);
        if (bytes < 0) return -1;
        if (bytes == 0) break;
        for (long at = 0; at < bytes;) {
            struct entry *entry = (struct entry *)(buffer + at);
            at += entry->length;
            if (entry->name[0] < '1' || entry->name[0] > '9') continue;
            int32_t pid = (int32_t)strtol(entry->name, NULL, 10), parent;
            if (pid <= 1 || pid == getpid()) continue;
            int is_here = lives_in(proc, entry->name, directory);
            if (place ? is_here || !stands_at(proc, entry->name, place) : !is_here) continue;
            if (!is_alive(proc, entry->name, &parent)) continue;
            if (count < room) found[count] = (cguard_process){pid, parent};
            count++;
        }
    }
    // From the parent to whether it is one of them. Nearly all have the same one.
    size_t told = count < room ? count : room;
    int32_t last = 0, last_leads = 1;
    for (size_t each = 0; each < told; each++) {
        int32_t parent = found[each].leads;
        if (parent != last) {
            last = parent;
            last_leads = 1;
            for (size_t other = 0; other < told && last_leads; other++)
                if (found[other].pid == parent) last_leads = 0;
        }
        found[each].leads = last_leads;
    }
    return (long)count;
}

long cguard_processes(int proc, const char *directory, cguard_process *found, size_t room) {
    return processes(proc, directory, NULL, found, room);
}

long cguard_strays(int proc, cguard_place place, const char *directory, cguard_process *found, size_t room) {
    return processes(proc, directory, &place, found, room);
}

void cguard_keep_memory(size_t bytes) {
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, -1);
    void *memory = malloc(bytes);
    if (memory) {
        memset(memory, 1, bytes);
        // Else the compiler sees that nobody reads it.
        __asm__ volatile("" : : "r"(memory) : "memory");
    }
    free(memory);
}

// Start

// In the child of vfork(2), whose credentials are its own although its memory is not.
static void take_along(uint64_t wanted) {
    uint64_t permitted, effective, inheritable;
    if (cl_capabilities_get(&permitted, &effective, &inheritable) < 0) return;
    uint64_t kept = permitted & wanted;
    if (cl_capabilities_set(permitted, effective, inheritable | kept) < 0) return;
    for (int bit = 0; bit < 64; bit++)
        if (kept >> bit & 1) prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, bit, 0, 0);
}

int cguard_spawn(const char *path, char *const *arguments, char *const *environment, uint64_t capabilities) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t all, none, before;
    sigfillset(&all);
    sigemptyset(&none);
    int code = posix_spawn_file_actions_init(&actions);
    if (code) return code;
    code = posix_spawnattr_init(&attributes);
    if (code) {
        posix_spawn_file_actions_destroy(&actions);
        return code;
    }
    code = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
    if (!code) code = posix_spawn_file_actions_adddup2(&actions, 0, 1);
    if (!code) code = posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    if (!code) code = posix_spawn_file_actions_addchdir_np(&actions, "/");
    if (!code) code = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    if (!code) code = posix_spawnattr_setsigdefault(&attributes, &all);
    if (!code) code = posix_spawnattr_setsigmask(&attributes, &none);
    if (!code) {
        // No handler of ours may run in the child, which shares our memory until it has started the program. It is not fork(2): an
        // agent with much locked memory would stand still while its page tables are copied.
        pthread_sigmask(SIG_SETMASK, &all, &before);
        volatile int told = 0;
        pid_t between = vfork();
        if (between == 0) {
            setsid();
            take_along(capabilities);
            // A busy host would hold up its start. Refused without the right to it: then it starts like everything else.
            struct sched_param first = {.sched_priority = 10};
            sched_setscheduler(0, SCHED_RR, &first);
            pid_t pid;
            told = posix_spawn(&pid, path, &actions, &attributes, arguments, environment);
            _exit(0);
        }
        code = between < 0 ? errno : told;
        int status;
        while (between > 0 && waitpid(between, &status, 0) < 0 && errno == EINTR) {
        }
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return code;
}

int cguard_watchdog_timeout(int descriptor, int *seconds) { return ioctl(descriptor, WDIOC_SETTIMEOUT, seconds); }

static volatile sig_atomic_t told_to_end;
static void note_end(int number) {
    (void)number;
    told_to_end = 1;
}

void cguard_heed_signals(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = note_end;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
}

int cguard_told_to_end(void) { return told_to_end; }
