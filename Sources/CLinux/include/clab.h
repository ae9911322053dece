#pragma once
// For the lab only: what it takes to make a machine out of namespaces, and to watch its wire.
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct {
    const char *path;
    char *const *arguments;
    char *const *environment;
    int input;               // the machine's power line: its first process ends when this pipe is closed
    int output;
    int errors;
    int network;             // descriptor of a network namespace
    int cgroup;              // descriptor of a cgroup.procs file, or -1
    int realtime;            // descriptor of the cgroup.procs file of a group in which real-time priority may be had, or -1
    const char *clocks;      // text for timens_offsets, or NULL for the clocks of this machine
} clab_machine;

/// Starts a program as process 1 of new PID, mount, IPC, UTS and time namespaces, inside a given network namespace.
/// The process becomes a child of the caller: waitpid(2) on it returns when no process of the machine is left.
/// Returns 0, or an errno, and then `stage` says at which step (a constant text).
int clab_start_machine(const clab_machine *machine, pid_t *pid, const char **stage);

/// Puts the calling thread into the network namespace. -1 and errno.
int clab_enter_network(int descriptor);

/// mount(2). -1 and errno.
int clab_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data);

/// Blocks SIGCHLD, SIGTERM, SIGINT and SIGHUP for the calling thread and returns a signalfd for them. -1 and errno.
int clab_take_signals(void);
/// Empties the signalfd.
void clab_drain_signals(int descriptor);

/// Directs SIGINT, SIGTERM and SIGHUP of this process into the pipe, one byte (the number) for each. -1 and errno.
int clab_forward_signals(int descriptor);
/// Gives the signal its default action again and raises it.
void clab_die_of(int number);

/// A raw packet socket of the calling thread's network namespace that sees only ARP and ICMPv6 neighbour
/// advertisements arriving at any interface (not what leaves), in the taps' place before a bridge takes the frame. -1 and errno.
int clab_claims_socket(void);
/// Receives one frame without waiting: its length, and the index of the interface it came in by. -1 and errno.
ssize_t clab_receive_frame(int descriptor, void *bytes, size_t room, int *interface);
/// Sends one whole Ethernet frame. -1 and errno.
ssize_t clab_send_frame(int descriptor, int interface, const void *bytes, size_t count);
/// A raw packet socket at one interface of the calling thread's network namespace: what comes in by it (not what leaves), each frame behind
/// the header that tells what is left to be done to it (PACKET_VNET_HDR: segmentation, checksum). What is sent leaves there. -1 and errno.
int clab_wire_socket(const char *interface);
/// The name of the interface in the socket's own namespace; at most 16 bytes with the end. -1 and errno.
int clab_interface_name(int descriptor, int interface, char *sixteen_bytes);
int clab_interface_index(int descriptor, const char *name);
