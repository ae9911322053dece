#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "clab.h"
#include "clinux.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

// What the two children tell the caller through a pipe that closes itself at exec.
struct report {
    int stage;  // index into stages; 0: `value` is the pid
    int value;
};

static const char *const stages[] = {
    "start", "make a pipe", "fork", "join the cgroup", "enter the network namespace", "make new namespaces",
    "set the clocks", "clone process 1", "lay out its descriptors", "execute the program",
};

static void tell(int pipe, int stage, int value) {
    struct report report = {stage, value};
    // Nobody can be told if this fails; the caller then sees the end of the pipe without a pid.
    if (write(pipe, &report, sizeof report) < 0) _exit(126);
}

static void fail(int pipe, int stage) {
    tell(pipe, stage, errno);
    _exit(127);
}

// Only calls that are safe after fork(2) in a process with threads.
static void become_process_one(const clab_machine *machine, int pipe) {
    struct sigaction plain;
    memset(&plain, 0, sizeof plain);
    plain.sa_handler = SIG_DFL;
    for (int number = 1; number < 65; number++) sigaction(number, &plain, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(machine->input, 0) < 0 || dup2(machine->output, 1) < 0 || dup2(machine->errors, 2) < 0) fail(pipe, 8);
    if (syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC) != 0) fail(pipe, 8);
    execve(machine->path, machine->arguments, machine->environment);
    fail(pipe, 9);
}

static void prepare_machine(const clab_machine *machine, int pipe) {
    setsid();
    if (machine->cgroup >= 0 && write(machine->cgroup, "0", 1) != 1) fail(pipe, 3);
    if (machine->realtime >= 0 && write(machine->realtime, "0", 1) != 1) fail(pipe, 3);
    if (setns(machine->network, CLONE_NEWNET) != 0) fail(pipe, 4);
    int kinds = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS;
    if (machine->clocks) kinds |= CLONE_NEWTIME;
    if (unshare(kinds) != 0) fail(pipe, 5);
    if (machine->clocks) {
        int offsets = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
        size_t length = strlen(machine->clocks);
        if (offsets < 0 || write(offsets, machine->clocks, length) != (ssize_t)length) fail(pipe, 6);
        close(offsets);
    }
    // CLONE_PARENT: process 1 is the caller's child, so that the caller can wait for the end of the whole machine.
    long pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
    if (pid < 0) fail(pipe, 7);
    if (pid == 0) become_process_one(machine, pipe);
    tell(pipe, 0, (int)pid);
    _exit(0);
}

int clab_start_machine(const clab_machine *machine, pid_t *pid, const char **stage) {
    int pair[2];
    *pid = -1;
    *stage = stages[1];
    if (pipe2(pair, O_CLOEXEC) != 0) return errno;
    *stage = stages[2];
    pid_t middle = fork();
    if (middle < 0) {
        int code = errno;
        close(pair[0]);
        close(pair[1]);
        return code;
    }
    if (middle == 0) prepare_machine(machine, pair[1]);
    close(pair[1]);
    int code = 0;
    struct report report;
    for (;;) {
        ssize_t got = read(pair[0], &report, sizeof report);
        if (got < 0 && errno == EINTR) continue;
        if (got != (ssize_t)sizeof report) break;
        if (report.stage == 0) {
            *pid = (pid_t)report.value;
        } else {
            *stage = stages[report.stage];
            code = report.value;
        }
    }
    close(pair[0]);
    while (waitpid(middle, NULL, 0) < 0 && errno == EINTR) {
    }
    if (code != 0 && *pid > 0) {
        while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    if (code == 0 && *pid < 0) return ECHILD;
    return code;
}

int clab_enter_network(int descriptor) { return setns(descriptor, CLONE_NEWNET); }

int clab_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data) {
    return mount(source, target, type, flags, data);
}

int clab_take_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0) return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

void clab_drain_signals(int descriptor) {
    struct signalfd_siginfo one;
    while (read(descriptor, &one, sizeof one) == (ssize_t)sizeof one) {
    }
}

static volatile sig_atomic_t signal_pipe = -1;

static void pass_on(int number) {
    int before = errno;
    unsigned char byte = (unsigned char)number;
    // The pipe can only be full when the reader was told already.
    if (signal_pipe >= 0 && write(signal_pipe, &byte, 1) < 0) errno = before;
    errno = before;
}

int clab_forward_signals(int descriptor) {
    signal_pipe = descriptor;
    struct sigaction order;
    memset(&order, 0, sizeof order);
    order.sa_handler = pass_on;
    order.sa_flags = SA_RESTART;
    int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    for (int i = 0; i < 3; i++) {
        if (sigaction(numbers[i], &order, NULL) != 0) return -1;
    }
    return 0;
}

void clab_die_of(int number) {
    struct sigaction plain;
    memset(&plain, 0, sizeof plain);
    plain.sa_handler = SIG_DFL;
    sigaction(number, &plain, NULL);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    kill(getpid(), number);
}

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

int clab_wire_socket(const char *interface) {
    int descriptor = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0) return -1;
    int one = 1;
    int room = 16 << 20;
    struct sockaddr_ll place;
    memset(&place, 0, sizeof place);
    place.sll_family = AF_PACKET;
    place.sll_protocol = htons(ETH_P_ALL);
    place.sll_ifindex = (int)if_nametoindex(interface);
    if (place.sll_ifindex != 0
        && setsockopt(descriptor, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one) == 0
        && setsockopt(descriptor, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one) == 0
        && setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) == 0
        && setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) == 0
        && bind(descriptor, (struct sockaddr *)&place, sizeof place) == 0)
        return descriptor;
    int why = errno;
    close(descriptor);
    errno = why;
    return -1;
}

int clab_claims_socket(void) {
    // Opened deaf (protocol 0), so that no unfiltered frame slips in between socket() and the filter.
    int descriptor = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0) return -1;
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),             // 0: type of the frame
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_ARP, 5, 0),   // 1: ARP: to 7
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IPV6, 0, 5),  // 2: neither: drop
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 20),             // 3: next header
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 58, 0, 3),      // 4: not ICMPv6: drop
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 54),             // 5: ICMPv6 type
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 136, 0, 1),     // 6: neighbour advertisement
        BPF_STMT(BPF_RET | BPF_K, 65535),                   // 7
        BPF_STMT(BPF_RET | BPF_K, 0),                       // 8
    };
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    int one = 1;
    int room = 4 << 20;
    struct sockaddr_ll everywhere;
    memset(&everywhere, 0, sizeof everywhere);
    everywhere.sll_family = AF_PACKET;
    everywhere.sll_protocol = htons(ETH_P_ALL);
    setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    if (setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0
        || setsockopt(descriptor, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one) != 0
        || bind(descriptor, (struct sockaddr *)&everywhere, sizeof everywhere) != 0) {
        int code = errno;
        close(descriptor);
        errno = code;
        return -1;
    }
    return descriptor;
}

ssize_t clab_receive_frame(int descriptor, void *bytes, size_t room, int *interface) {
    struct sockaddr_ll from;
    socklen_t length = sizeof from;
    memset(&from, 0, sizeof from);
    ssize_t count = recvfrom(descriptor, bytes, room, MSG_DONTWAIT, (struct sockaddr *)&from, &length);
    *interface = from.sll_ifindex;
    return count;
}

ssize_t clab_send_frame(int descriptor, int interface, const void *bytes, size_t count) {
    struct sockaddr_ll to;
    memset(&to, 0, sizeof to);
    to.sll_family = AF_PACKET;
    to.sll_ifindex = interface;
    to.sll_halen = 6;
    memcpy(to.sll_addr, bytes, 6);
    return sendto(descriptor, bytes, count, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof to);
}

int clab_interface_name(int descriptor, int interface, char *sixteen_bytes) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    request.ifr_ifindex = interface;
    if (ioctl(descriptor, SIOCGIFNAME, &request) != 0) return -1;
    memcpy(sixteen_bytes, request.ifr_name, 16);
    return 0;
}

int clab_interface_index(int descriptor, const char *name) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    strncpy(request.ifr_name, name, 15);
    if (ioctl(descriptor, SIOCGIFINDEX, &request) != 0) return -1;
    return request.ifr_ifindex;
}
