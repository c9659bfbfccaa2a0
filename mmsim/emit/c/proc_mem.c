#include <stdint.h>

static int open_mem(pid_t pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	return open(path, O_RDWR | O_CLOEXEC);
}

/* pwrite() to /proc/PID/mem. */
static long mem_write(pid_t pid, char *address, const char *data, size_t length)
{
	int fd = open_mem(pid);
	long done = answer(pwrite(fd, data, length, (uintptr_t)address));

	close(fd);
	return done;
}

static long mem_read(pid_t pid, char *address, size_t length)
{
	int fd = open_mem(pid);
	long done = answer(pread(fd, bytes, length, (uintptr_t)address));

	close(fd);
	return done;
}
