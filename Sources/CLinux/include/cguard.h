#pragma once
// For the guard only: the page that it shares with the agent, its look at /proc, and its start.
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// The page is an array of 64-bit words. Every access is sequentially consistent: whoever sees a word sees all that was stored before it.
uint64_t cguard_load(const void *page, size_t word);
void cguard_store(void *page, size_t word, uint64_t value);
/// Counts one up in a word that serves as a bell, and wakes whoever waits for it, in any process (futex(2)).
void cguard_ring(void *page, size_t word);
/// Returns when the word's low half is no longer `heard`, when the time is over, at a signal, or for no reason at all.
void cguard_wait(void *page, size_t word, uint64_t heard, int64_t nanoseconds);

/// 1: the file is in memory (tmpfs), so that no writing back to a disk holds up a store into its pages.
int cguard_is_in_memory(int file);

typedef struct {
    int32_t pid;
    int32_t leads;   // 1: its parent is none of the others (the postmaster; an orphan)
} cguard_process;
/// A folder whatever it is called: by device and number.
typedef struct {
    uint64_t device, number;
} cguard_place;
/// Every live process but the caller whose working directory is this one, a resolved path; also if the directory was removed, and
/// servers of our user whose directory may not be read. Allocates nothing and asks /proc alone, through `proc`, a descriptor of it.
/// Returns how many were found, of which at most `room` are told; -1 and errno if /proc cannot be listed.
long cguard_processes(int proc, const char *directory, cguard_process *found, size_t room);
/// Servers that stand in this very folder, but under another name than this one. Asks its file system: a network may hold it up.
long cguard_strays(int proc, cguard_place place, const char *directory, cguard_process *found, size_t room);

/// Memory that was once used is kept, and so much is made ready: a later malloc does not ask the kernel.
void cguard_keep_memory(size_t bytes);

/// Starts a program that is nobody's child and outlives the caller: own session, standard input and output from and to /dev/null,
/// standard error as the caller's, no other descriptor, all signals at their default and none blocked, working directory "/".
/// It starts with real-time priority, where that is permitted. Those of `capabilities` that the caller has go with it, although the caller has none that is inheritable. 0 or an errno.
int cguard_spawn(const char *path, char *const *arguments, char *const *environment, uint64_t capabilities);

/// Asks a watchdog for a time-out in whole seconds and tells the one that it took. -1 and errno.
int cguard_watchdog_timeout(int descriptor, int *seconds);

/// From now on SIGTERM and SIGINT only make `cguard_told_to_end` true, and end a wait.
void cguard_heed_signals(void);
int cguard_told_to_end(void);
