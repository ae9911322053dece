#pragma once
// What Swift's Glibc module lacks: headers of the kernel, and plain functions in place of variadic ones and macros.
// Function-like macros (NLMSG_DATA, RTA_NEXT) are not imported by Swift; their work is done in Swift on byte slices.
// No _GNU_SOURCE here: types such as fd_set would then differ from those of the Glibc module.
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/eventfd.h>
#include <sys/statvfs.h>
#include <net/if.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/inet_diag.h>
#include <linux/capability.h>
#include <linux/filter.h>

// Sockets

// The C library declares these as members of enums. Which of two modules that include the same header (Glibc, this one) owns
// such a member differs from build to build, so a file that imports only one of them sometimes does not see it.
static const int32_t cl_sock_stream = SOCK_STREAM;
static const int32_t cl_sock_dgram = SOCK_DGRAM;
static const int32_t cl_sock_raw = SOCK_RAW;
static const int32_t cl_sock_cloexec = SOCK_CLOEXEC;
static const int32_t cl_sock_nonblock = SOCK_NONBLOCK;
static const int32_t cl_msg_peek = MSG_PEEK;
static const int32_t cl_msg_dontwait = MSG_DONTWAIT;
static const int32_t cl_msg_nosignal = MSG_NOSIGNAL;
static const int32_t cl_ipproto_tcp = IPPROTO_TCP;
static const int32_t cl_ipproto_ipv6 = IPPROTO_IPV6;

// Processes

/// A descriptor that becomes readable when the process ends; also for processes that are not our children. -1 and errno.
int cl_pidfd_open(pid_t pid);
/// The kernel's id of the calling thread.
pid_t cl_gettid(void);
/// Both ends of a pipe, close-on-exec. -1 and errno.
int cl_pipe(int *reading_and_writing);
/// Names the calling thread (15 bytes are kept).
void cl_name_thread(const char *name);
/// Timed waits of the calling thread may end that much late, so that the kernel can end several at once (PR_SET_TIMERSLACK); one with
/// real-time priority is never late by it.
void cl_be_patient(unsigned long nanoseconds);
/// Enters the namespace that the descriptor names, of this kind (CLONE_NEWNET and others) or, with 0, of any. -1 and errno.
int cl_setns(int descriptor, int kind);
/// write(2) that never raises SIGPIPE in this thread: a closed reader is EPIPE only.
ssize_t cl_write_quietly(int descriptor, const void *bytes, size_t count);

/// The environment of this process (environ(7)).
char **cl_environment(void);

typedef struct {
    const char *path;
    char *const *arguments;
    char *const *environment;
    int input;   // -1: /dev/null
    int output;
    int errors;
} cl_spawn_order;
/// posix_spawn with: own process group, all signals at their default and none blocked, working directory "/", and no
/// descriptor beyond the three. Returns 0 or an errno.
int cl_spawn(const cl_spawn_order *order, pid_t *pid);

/// How a process ended, from waitpid's status.
int cl_exited(int status);
int cl_exit_code(int status);
int cl_ending_signal(int status);

// Privileges (of the calling thread)

/// Real, effective and saved group and user of all threads. -1 and errno.
int cl_become(uid_t user, gid_t group);
int cl_prctl(int option, unsigned long second, unsigned long third);
/// Permitted, effective and inheritable sets. -1 and errno.
int cl_capabilities_get(uint64_t *permitted, uint64_t *effective, uint64_t *inheritable);
int cl_capabilities_set(uint64_t permitted, uint64_t effective, uint64_t inheritable);
