// SPDX-License-Identifier: GPL-2.0-only
/*
 * Performs programs of system calls and tells what each call returned: /init of a guest, or an ordinary process.
 *
 * What it is told and what it tells is in mmsim/conformance/kernels/wire.py, which also writes protocol.h: the numbers
 * of verbs and answers, and where the arena lies.  The C library is used for nothing that is tested: every call of a
 * program is the raw system call, every load and store the CPU's own.
 *
 *	executor FOLDER		an ordinary process; FOLDER is a tmpfs, programs come on 0 and answers go to 1
 *	/init			process 1 of a guest; the line is a serial port (see open_line)
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "protocol.h"

#define ARGUMENTS 6
#define CALLS 4096
#define ROOM (32 << 20)
#define HIGH 600		/* descriptors of our own are from here on, out of the programs' way */
#define PATIENCE_MS 20000
#define COM2 0x2f8
#define POOL 64		/* huge pages, of which no program needs so many */
#define SEND 0		/* what a process does with the socket of a PASS_FD */
#define RECEIVE 1

struct call {
	unsigned verb, process;
	int64_t arguments[ARGUMENTS];
};

struct text {			/* bytes on their way in or out */
	unsigned char *bytes;
	size_t length, at;
};

static struct call program[CALLS];
static unsigned calls;
static struct text in, out;
static unsigned char content[LARGEST * HUGE_UNIT] __attribute__((aligned(8)));
static int64_t unit = 1;	/* how many bytes are a program's byte: with files of huge pages, HUGE_UNIT */
static char paths[FILES][4096];
static int line_in = -1, line_out = -1, port, by_credit;
static size_t taken;
static unsigned char *shared;
static int to_process[PROCESSES][2], from_process[PROCESSES][2];
static int passing[PROCESSES][2], has_sockets = 1;	/* to send descriptors to a process, and where it receives them */

static void die(const char *why)
{
	fprintf(stderr, "mmsim executor: %s (%s)\n", why, strerror(errno));
	exit(1);
}

/* What a file begins with, as text. */
static void text_of(const char *path, char *to, size_t size)
{
	int file = open(path, O_RDONLY);
	ssize_t got = file < 0 ? -1 : read(file, to, size - 1);

	to[got < 0 ? 0 : got] = 0;
	if (file >= 0)
		close(file);
}

/* ---- the line */

static void port_read(unsigned char *to, size_t length)
{
	unsigned idle = 0;

	while (length) {
		if (inb(port + 5) & 0x01) {
			*to++ = inb(port);
			length--;
			idle = 0;
		} else if (++idle > 2000) {	/* nobody asks anything: let the machine rest */
			usleep(300);
		}
	}
}

static void port_write(const unsigned char *from, size_t length)
{
	while (length) {
		size_t burst = length < 16 ? length : 16;

		while (!(inb(port + 5) & 0x20))
			;
		for (size_t i = 0; i < burst; i++)
			outb(*from++, port);
		length -= burst;
	}
}

static void descriptor_write(int to, const unsigned char *from, size_t length);

static void line_read(unsigned char *to, size_t length)
{
	if (port) {
		port_read(to, length);
		return;
	}
	while (length) {
		ssize_t got = read(line_in, to, length);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			exit(0);	/* whoever asked is gone */
		to += got;
		length -= got;
		taken += got;
		if (by_credit && taken >= CREDIT) {	/* a terminal loses what its buffer has no room for */
			taken -= CREDIT;
			descriptor_write(line_out, (const unsigned char *)MORE, 1);
		}
	}
}

static void descriptor_write(int to, const unsigned char *from, size_t length)
{
	while (length) {
		ssize_t sent = write(to, from, length);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			exit(0);
		from += sent;
		length -= sent;
	}
}

static void line_write(const unsigned char *from, size_t length)
{
	if (port)
		port_write(from, length);
	else
		descriptor_write(line_out, from, length);
}

static void send_frame(const char *magic, const struct text *text)
{
	uint32_t length = text->length;

	if (shared && length > SHARED_HALF)
		die("too many answers");
	if (shared)	/* before its length is told, upon which it is read */
		memcpy(shared + SHARED_HALF, text->bytes, length);
	line_write((const unsigned char *)magic, strlen(magic));
	line_write((const unsigned char *)&length, sizeof(length));
	if (!shared)
		line_write(text->bytes, length);
}

/*
 * The memory that qemu shares with whoever asks (ivshmem): a frame lies there, and the line, which is slow, only has its
 * length.  Programs come in the first half and answers go into the second.
 */
static void open_shared(void)
{
	static const char folder[] = "/sys/bus/pci/devices";
	DIR *devices = opendir(folder);
	struct dirent *device;
	char path[512], id[64];
	int file;

	while (devices && (device = readdir(devices))) {
		snprintf(path, sizeof(path), "%s/%s/modalias", folder, device->d_name);
		text_of(path, id, sizeof(id));
		if (strncmp(id, "pci:v00001AF4d00001110", 22))
			continue;
		snprintf(path, sizeof(path), "%s/%s/resource2", folder, device->d_name);
		file = open(path, O_RDWR);
		shared = mmap(NULL, 2 * SHARED_HALF, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
		if (file < 0 || shared == MAP_FAILED)
			die("no access to the shared memory");
		close(file);
		closedir(devices);
		return;
	}
	die("no shared memory");
}

/* A serial port: of qemu, COM2 by its registers, for its driver would drop what comes too fast; of UML, ttyS0. */
static void open_line(int user_mode)
{
	struct termios raw;

	if (!user_mode) {
		if (iopl(3))
			die("no access to the serial port");
		port = COM2;
		outb(0x00, port + 1);	/* no interrupts */
		outb(0x03, port + 3);	/* 8n1 */
		outb(0x07, port + 2);	/* FIFOs on, and empty */
		open_shared();
		return;
	}
	line_in = line_out = fcntl(open("/dev/ttyS0", O_RDWR | O_NOCTTY), F_DUPFD, HIGH);
	if (line_in < 0 || tcgetattr(line_in, &raw))
		die("no /dev/ttyS0");
	cfmakeraw(&raw);
	tcsetattr(line_in, TCSANOW, &raw);
	by_credit = 1;
}

/* ---- numbers: seven bits a byte, the lowest first; signed ones with the sign in bit 0 */

static uint64_t get(void)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		unsigned char byte;

		if (in.at == in.length)
			die("a message ends too early");
		byte = in.bytes[in.at++];
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return value;
	}
	die("a number is too long");
	return 0;
}

static int64_t get_signed(void)
{
	uint64_t value = get();

	return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

static void put(uint64_t value)
{
	if (out.length + 10 > ROOM)
		die("too many answers");
	while (value >= 0x80) {
		out.bytes[out.length++] = value | 0x80;
		value >>= 7;
	}
	out.bytes[out.length++] = value;
}

static void put_number(int64_t value)
{
	put((((uint64_t)value << 1) ^ (uint64_t)(value >> 63)) << 2 | NUMBER);
}

/* What was read, as runs of one byte; if they are not of whole units, -EBADMSG, which the model never answers. */
static void put_content(size_t length)
{
	size_t runs = 0, at = 0;

	for (at = 0; at < length; at += unit) {
		if (unit > 1 && (length - at < (size_t)unit || memcmp(content + at, content + at + 1, unit - 1))) {
			put_number(-EBADMSG);
			return;
		}
		runs += !at || content[at] != content[at - unit];
	}
	put(runs << 2 | CONTENT);
	for (at = 0; at < length;) {
		size_t start = at;

		while (at < length && content[at] == content[start])
			at += unit;
		put((at - start) / unit);
		put(content[start]);
	}
}

/* ---- a program with files of huge pages: a byte of it is a unit here, and so a page of it a huge page */

static long address(int64_t told)
{
	return told < ARENA ? told : ARENA + (told - ARENA) * unit;
}

static void put_address(long got)
{
	put_number(got < ARENA ? got : ARENA + (got - ARENA) / unit);
}

static void put_length(long got)
{
	put_number(got < 0 ? got : got / unit);
}

/* In whole pages, to which the kernel rounds up by itself where they are small. */
static long pages(int64_t length)
{
	return unit == 1 ? length : (length + PAGE - 1) / PAGE * PAGE * unit;
}

/* ---- loads and stores that survive their faults */

static sigjmp_buf after_fault;

static void on_fault(int number)
{
	siglongjmp(after_fault, number);
}

static void __attribute__((noinline)) copy_in(uint64_t address, size_t length)
{
	const volatile unsigned char *from = (const volatile unsigned char *)address;

	if (address % 8 || length % 8) {
		for (size_t at = 0; at < length; at++)
			content[at] = from[at];
		return;
	}
	for (size_t at = 0; at < length; at += 8)
		*(uint64_t *)(content + at) = *(const volatile uint64_t *)(from + at);
}

static void __attribute__((noinline)) fill(uint64_t address, unsigned char letter, size_t length)
{
	volatile unsigned char *to = (volatile unsigned char *)address;

	for (size_t at = 0; at < length; at++)	/* upwards: what lies before a fault is written */
		to[at] = letter;
}

static int load(uint64_t address, size_t length)
{
	int number = sigsetjmp(after_fault, 0);

	if (!number)
		copy_in(address, length);
	return number;
}

static int store(uint64_t address, unsigned char letter, size_t length)
{
	int number = sigsetjmp(after_fault, 0);

	if (!number)
		fill(address, letter, length);
	return number;
}

/* ---- the calls */

static long raw(long number, long a, long b, long c, long d, long e, long f)
{
	long result = syscall(number, a, b, c, d, e, f);

	return result == -1 ? -errno : result;
}

static size_t bounded(int64_t length)
{
	if (length < 0 || length > LARGEST)
		die("more content than a program may have");
	return length * unit;
}

static void put_read(long got)
{
	if (got < 0)
		put_number(got);
	else
		put_content(got);
}

static void perform(const struct call *call)
{
	const int64_t *a = call->arguments;
	char path[64];
	int fault;

	switch (call->verb) {
	case MEMFD_CREATE:
		put_number(raw(SYS_memfd_create, (long)"file", a[0], 0, 0, 0, 0));
		break;
	case OPEN:
		put_number(raw(SYS_open, (long)paths[a[0] % FILES], a[1], 0777, 0, 0, 0));
		break;
	case REOPEN:
		snprintf(path, sizeof(path), "/proc/self/fd/%d", (int)a[0]);
		put_number(raw(SYS_open, (long)path, a[1], 0, 0, 0, 0));
		break;
	case READ:
		put_read(raw(SYS_read, a[0], (long)content, bounded(a[1]), 0, 0, 0));
		break;
	case PREAD:
		put_read(raw(SYS_pread64, a[0], (long)content, bounded(a[1]), a[2] * unit, 0, 0));
		break;
	case WRITE:
		memset(content, a[1], bounded(a[2]));
		put_length(raw(SYS_write, a[0], (long)content, a[2] * unit, 0, 0, 0));
		break;
	case PWRITE:
		memset(content, a[1], bounded(a[2]));
		put_length(raw(SYS_pwrite64, a[0], (long)content, a[2] * unit, a[3] * unit, 0, 0));
		break;
	case MMAP:	/* fd, prot, flags, length, offset, address */
		put_address(raw(SYS_mmap, address(a[5]), a[3] * unit, a[1], a[2], a[0], a[4] * unit));
		break;
	case LOAD:
		fault = load(address(a[0]), bounded(a[1]));
		if (fault)
			put((uint64_t)fault << 2 | SIGNAL);
		else
			put_content(a[1] * unit);
		break;
	case STORE:
		fault = store(address(a[0]), a[1], a[2] * unit);
		if (fault)
			put((uint64_t)fault << 2 | SIGNAL);
		else
			put_number(0);
		break;
	case ADD_SEALS:
		put_number(raw(SYS_fcntl, a[0], 1033, a[1], 0, 0, 0));
		break;
	case GET_SEALS:
		put_number(raw(SYS_fcntl, a[0], 1034, 0, 0, 0, 0));
		break;
	case CLOSE:
		put_number(raw(SYS_close, a[0], 0, 0, 0, 0, 0));
		break;
	case DUP:
		put_number(raw(SYS_dup, a[0], 0, 0, 0, 0, 0));
		break;
	case FTRUNCATE:
		put_number(raw(SYS_ftruncate, a[0], a[1] * unit, 0, 0, 0, 0));
		break;
	case FALLOCATE:
		put_number(raw(SYS_fallocate, a[0], a[1], a[2] * unit, a[3] * unit, 0, 0));
		break;
	case FCHMOD:
		put_number(raw(SYS_fchmod, a[0], a[1], 0, 0, 0, 0));
		break;
	case MUNMAP:
		put_number(raw(SYS_munmap, address(a[0]), pages(a[1]), 0, 0, 0, 0));
		break;
	case MPROTECT:
		put_number(raw(SYS_mprotect, address(a[0]), pages(a[1]), a[2], 0, 0, 0));
		break;
	case MREMAP:
		put_address(raw(SYS_mremap, address(a[0]), pages(a[1]), pages(a[2]), a[3], address(a[4]), 0));
		break;
	case MADVISE:
		put_number(raw(SYS_madvise, address(a[0]), pages(a[1]), a[2], 0, 0, 0));
		break;
	default:
		die("a verb that is not known here");
	}
}

static void clear(void)
{
	raw(SYS_munmap, ARENA, ARENA_LENGTH * unit, 0, 0, 0, 0);
	if (raw(SYS_close_range, FIRST, HIGH - 1, 0, 0, 0, 0))
		die("close_range");
}

static void unlink_files(void)
{
	for (int file = 0; file < FILES; file++)
		unlink(paths[file]);
}

/* ---- programs of several processes: each does the calls it is told, and this process tells them */

static void move_high(const int low[2], int ends[2])
{
	for (int end = 0; end < 2; end++) {
		ends[end] = fcntl(low[end], F_DUPFD, HIGH);
		close(low[end]);
		if (ends[end] < 0)
			die("F_DUPFD");
	}
}

static void high_pipe(int ends[2])
{
	int low[2];

	if (pipe(low))
		die("pipe");
	move_high(low, ends);
}

static void high_sockets(int ends[2])
{
	int low[2];

	if (!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, low))
		move_high(low, ends);
	else if (errno == EAFNOSUPPORT || errno == ENOSYS)	/* no CONFIG_UNIX, no CONFIG_NET */
		has_sockets = 0;
	else
		die("socketpair");
}

/* A message of one byte, with room for one descriptor beside it. */
union rights {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int))];
};

static struct msghdr message_with(union rights *rights)
{
	static char byte = '.';
	static struct iovec content_of = { &byte, 1 };
	struct msghdr message = { .msg_iov = &content_of, .msg_iovlen = 1,
				  .msg_control = rights->bytes, .msg_controllen = sizeof(rights->bytes) };

	return message;
}

static long send_fd(int fd, unsigned to)
{
	union rights rights = { .header = { CMSG_LEN(sizeof(fd)), SOL_SOCKET, SCM_RIGHTS } };
	struct msghdr message = message_with(&rights);

	memcpy(CMSG_DATA(&rights.header), &fd, sizeof(fd));
	return raw(SYS_sendmsg, passing[to][0], (long)&message, 0, 0, 0, 0);
}

static int receive_fd(unsigned number)
{
	union rights rights = { .bytes = { 0 } };
	struct msghdr message = message_with(&rights);
	int fd;

	if (raw(SYS_recvmsg, passing[number][1], (long)&message, 0, 0, 0, 0) != 1 ||
	    message.msg_controllen < CMSG_LEN(sizeof(fd)) || rights.header.cmsg_type != SCM_RIGHTS)
		die("no descriptor came with a message");
	memcpy(&fd, CMSG_DATA(&rights.header), sizeof(fd));
	return fd;
}

static void full_read(int from, void *to, size_t length)
{
	unsigned char *at = to;

	while (length) {
		struct pollfd ready = { .fd = from, .events = POLLIN };
		ssize_t got;

		if (poll(&ready, 1, PATIENCE_MS) <= 0)
			die("a process died, or a call did not return");
		got = read(from, at, length);
		if (got <= 0)
			die("a process of a program is gone");
		at += got;
		length -= got;
	}
}

static pid_t start(unsigned number);

static void serve(unsigned number)
{
	for (;;) {
		unsigned order[3];	/* the first call, how many, and FORK: the next process, PASS_FD: RECEIVE */
		uint32_t length;

		if (read(to_process[number][0], order, sizeof(order)) != sizeof(order))
			_exit(1);
		out.length = 0;
		if (program[order[0]].verb == FORK)
			put_number(start(order[2]));
		else if (program[order[0]].verb == EXIT)
			put_number(0);
		else if (program[order[0]].verb == PASS_FD)
			put_number(order[2] == RECEIVE ? receive_fd(number) : send_fd(program[order[0]].arguments[0], program[order[0]].arguments[1]));
		else
			for (unsigned i = 0; i < order[1]; i++)
				perform(&program[order[0] + i]);
		length = out.length;
		descriptor_write(from_process[number][1], (unsigned char *)&length, sizeof(length));
		descriptor_write(from_process[number][1], out.bytes, length);
		if (program[order[0]].verb == EXIT)
			_exit(0);
	}
}

static pid_t start(unsigned number)
{
	pid_t pid = fork();

	if (!pid)
		serve(number);
	return pid;
}

/* Until the process has let go of its memory and its descriptors, whosever child it is. */
static void wait_for_death(pid_t pid)
{
	int descriptor = raw(SYS_pidfd_open, pid, 0, 0, 0, 0, 0);
	struct pollfd dead = { .fd = descriptor, .events = POLLIN };

	if (descriptor < 0)
		return;
	if (poll(&dead, 1, PATIENCE_MS) <= 0)
		die("a process does not die");
	close(descriptor);
}

static void ask(unsigned process, unsigned first, unsigned count, unsigned next)
{
	unsigned order[3] = { first, count, next };
	uint32_t length;

	descriptor_write(to_process[process][1], (unsigned char *)order, sizeof(order));
	full_read(from_process[process][0], &length, sizeof(length));
	if (out.length + length > ROOM)
		die("too many answers");
	full_read(from_process[process][0], out.bytes + out.length, length);
	out.length += length;
}

/* One call, whose answer is a number that is for us. */
static int64_t number_of(unsigned process, unsigned first, unsigned next)
{
	size_t before = out.length;
	uint64_t told;

	ask(process, first, 1, next);
	in.at = 0;
	in.bytes = out.bytes + before;
	in.length = out.length - before;
	out.length = before;
	told = get() >> 2;
	return (int64_t)(told >> 1) ^ -(int64_t)(told & 1);
}

static int by_itself(unsigned verb)
{
	return verb == FORK || verb == EXIT || verb == PASS_FD;
}

static void in_processes(void)
{
	pid_t pids[PROCESSES] = { 0 };
	int alive[PROCESSES] = { 0 };
	unsigned started = 1, first, count;

	pids[0] = start(0);
	alive[0] = 1;
	for (first = 0; first < calls; first += count) {
		unsigned process = program[first].process, verb = program[first].verb;
		uint64_t to = verb == PASS_FD ? (uint64_t)program[first].arguments[1] : process;

		count = 1;
		while (!by_itself(verb) && first + count < calls && program[first + count].process == process &&
		       !by_itself(program[first + count].verb))
			count++;
		if (process >= started || !alive[process] || to >= started || !alive[to] ||
		    (verb == FORK && started == PROCESSES)) {
			for (unsigned i = 0; i < count; i++)
				put(NOTHING);
		} else if (verb == FORK) {
			pids[started] = number_of(process, first, started);
			alive[started] = 1;
			put_number(started++);
		} else if (verb == PASS_FD) {
			int64_t sent = number_of(process, first, SEND);

			put_number(sent < 0 ? sent : number_of(to, first, RECEIVE));
		} else {
			ask(process, first, count, 0);
			if (verb == EXIT) {
				alive[process] = 0;
				wait_for_death(pids[process]);
			}
		}
	}
	for (unsigned process = 0; process < started; process++)
		kill(pids[process], SIGKILL);
	for (unsigned process = 0; process < started; process++)
		waitpid(-1, NULL, 0);
	unlink_files();
}

static void alone(void)
{
	int opened = 0;

	for (unsigned i = 0; i < calls; i++) {
		if (program[i].process)
			put(NOTHING);
		else
			perform(&program[i]);
		opened |= program[i].verb == OPEN;
	}
	clear();
	if (opened)
		unlink_files();
}

/* ---- batches */

static int read_program(void)
{
	static const unsigned char arguments[] = ARGUMENTS_OF;
	int several = 0;

	unit = 1;
	calls = get();
	if (calls > CALLS)
		die("a program is too long");
	for (unsigned i = 0; i < calls; i++) {
		uint64_t head = get();

		program[i].verb = head / PROCESSES;
		program[i].process = head % PROCESSES;
		if (program[i].verb >= sizeof(arguments))
			die("a verb that is not known here");
		for (unsigned at = 0; at < arguments[program[i].verb]; at++)
			program[i].arguments[at] = get_signed();
		if (program[i].verb == MEMFD_CREATE && program[i].arguments[0] & MFD_HUGETLB)
			unit = HUGE_UNIT;
		several |= by_itself(program[i].verb);
	}
	return several;
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000ull + now.tv_nsec / 1000;
}

static void batches(void)
{
	unsigned char *message = malloc(ROOM);

	for (;;) {
		uint64_t took[2] = { 0, 0 };
		struct text programs = { message, 0, 0 };
		uint32_t length;

		taken = 0;
		line_read((unsigned char *)&length, sizeof(length));
		if (length > (shared ? SHARED_HALF : ROOM))
			die("too long a message");
		if (shared)
			memcpy(message, shared, length);
		else
			line_read(message, length);
		programs.length = length;
		out.length = 0;
		for (in = programs; in.at < in.length;) {
			uint64_t began = now_us();
			int several = read_program();

			programs.at = in.at;
			if (several)
				in_processes();
			else
				alone();
			in = programs;
			took[several] += now_us() - began;
		}
		put(took[0]);
		put(took[1]);
		send_frame(ANSWERS_MAGIC, &out);
	}
}

/* ---- the beginning */

/* Whether /proc/PID/mem writes to a private mapping that may only be read: CONFIG_PROC_MEM_NO_FORCE says no. */
static int forces(void)
{
	void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int mem = open("/proc/self/mem", O_RDWR);
	int written = page != MAP_FAILED && mem >= 0 && pwrite(mem, "w", 1, (off_t)page) == 1;

	munmap(page, 4096);
	close(mem);
	return written;
}

/* Whether there are huge pages, which only a guest takes for itself. */
static int has_pool(int init)
{
	char got[64];
	int file = init ? open("/proc/sys/vm/nr_hugepages", O_RDWR) : -1;

	if (file < 0)
		return 0;
	snprintf(got, sizeof(got), "%d", POOL);
	if (write(file, got, strlen(got)) < 0)
		got[0] = 0;
	close(file);
	text_of("/proc/sys/vm/nr_hugepages", got, sizeof(got));
	return atoi(got) == POOL;
}

static void hello(int user_mode, int huge_pages)
{
	struct utsname name;
	char huge[256];
	struct stat there;
	int has_huge = !stat("/sys/kernel/mm/transparent_hugepage", &there);

	uname(&name);
	text_of("/sys/kernel/mm/transparent_hugepage/shmem_enabled", huge, sizeof(huge));
	out.length = snprintf((char *)out.bytes, ROOM, "%s\n%s\n%d\n%d\n%d\n%d\n%d\n%s", name.release, name.version,
			      user_mode, has_huge, forces(), has_sockets, huge_pages, huge);
	send_frame(HELLO_MAGIC, &out);
}

static int be_init(void)
{
	char model[4096];

	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/tmpfs", 0755);
	if (mount("proc", "/proc", "proc", 0, NULL) || mount("sysfs", "/sys", "sysfs", 0, NULL))
		die("mount");
	if (mount("mmsim", "/tmpfs", "tmpfs", 0, "size=16m,huge=never") &&
	    mount("mmsim", "/tmpfs", "tmpfs", 0, "size=16m"))	/* without huge pages there is no such option */
		die("mount tmpfs");
	text_of("/proc/cpuinfo", model, sizeof(model));
	return strstr(model, "User Mode Linux") != NULL;
}

int main(int argc, char **argv)
{
	int init = getpid() == 1, user_mode = 0;
	struct sigaction action = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };
	static const char *const names[] = FILE_NAMES;

	out.bytes = malloc(ROOM);
	if (!out.bytes || (!init && argc != 2))
		die("usage: executor FOLDER");
	if (init) {
		user_mode = be_init();
		open_line(user_mode);
	} else {
		line_in = fcntl(0, F_DUPFD, HIGH);
		line_out = fcntl(1, F_DUPFD, HIGH);
		prctl(PR_SET_CHILD_SUBREAPER, 1);
	}
	for (int file = 0; file < FILES; file++)
		snprintf(paths[file], sizeof(paths[file]), "%s/%s", init ? "/tmpfs" : argv[1], names[file]);
	umask(0);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	for (int process = 0; process < PROCESSES; process++) {
		high_pipe(to_process[process]);
		high_pipe(from_process[process]);
		high_sockets(passing[process]);
	}
	clear();
	hello(user_mode, has_pool(init));
	batches();
	return 0;
}
