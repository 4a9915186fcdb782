// What a file of this library has for functions that another one stands in for.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

// rlimits.c, which stands in for syscall(2).

typedef long (*syscall_function)(long number, ...);
syscall_function next_syscall(void);  // libc's

// network.c

// True where a system call is not to be made: `result` is its answer.
bool network_answers(long number, const long arguments[6], long* result);
// Before a name below the descriptor `directory` is opened.
void network_is_read(int directory);

// clean_mounts.c

// True where a mount that CRIU is about to bind somewhere is copied instead.
bool clean_mount_is_made(const char* source, const char* target, unsigned long flags);
// True where a name is that of the copy: `result` and errno are those of opening it.
bool clean_mount_is_opened(const char* path, int flags, int* result);

// kerndat.c, of the file in which CRIU keeps what it has learnt of the kernel: true where a call is answered
// there, and then its result and errno are set.

bool kerndat_opens(const char* path, int flags, int* result);
bool kerndat_renames(const char* from, const char* to, int* result);
bool kerndat_unlinks(const char* path, int* result);

// pages.c

// All private memory is hidden from CRIU, in every process.
bool memory_is_hidden(void);

// task_images.c

// Before an image is opened. True where that was done here: `result` and errno are the call's.
bool task_image_opens(const char* name, int flags, mode_t mode, int* result);

// tmpfs.c

// After an image was opened; `opened` is -1 where that has failed.
void tmpfs_image_was_opened(const char* name, int flags, int opened);

// late_signals.c

// After ptrace(PTRACE_PEEKSIGINFO) has told CRIU of `count` pending signals; `asked` is its argument.
void signals_were_read(pid_t thread, const void* asked, long count);
// Of a thread that CRIU holds: since it read them.
void look_for_late_signals(pid_t thread);
// What the innermost pid namespace of a thread knows it and its process by.
bool numbers_inside(pid_t thread, long* inside_process, long* inside_thread);

// posix_locks.c

// Of processes that CRIU has restored and holds, all of whose threads are given: they take their locks again.
// False: one was not to be had, which has been said.
bool restore_posix_locks(const pid_t* threads, size_t count);

// sockets.c

// SIOCUNIXFILE, which <linux/un.h> has; it does not go with <sys/un.h>.
enum { OPEN_SOCKET_FILE = 0x89e0 };
// Of a unix socket that is bound, as `file`.
void socket_file_was_opened(int socket, int file);

// thread_settings.c

// Once: CRIU's images are there, and the file of settings among them.
void read_settings(void);
// Before a thread is let go.
void restore_settings(pid_t thread);

// protections.c

// Once: CRIU's images are there, and the file of protections among them. False: it cannot be read.
bool read_protections(void);
// When CRIU holds all threads, which are these, and has restored them. False: not all are protected again,
// which has been said.
bool restore_protections(const pid_t* threads, size_t count);

// restored_timers.c

// Once: CRIU's images are there, and the list of timers among them.
void read_timers(void);
// All of these stand still, and nothing else is to be done before they are let go.
// False: one cannot go on, which has been said.
bool restore_timers(const pid_t* threads, size_t number);

// restore.c

// Before a file is opened that may be an image of CRIU's. Waits until it is there.
void image_is_read(const char* name);
// Before ptrace(2) is called; may change `*data`. False: it is not to be called, errno says why.
bool restore_allows(long request, pid_t thread, void** data);
// Whether CRIU has begun to let restored threads go.
bool restored_ones_go_on(void);
