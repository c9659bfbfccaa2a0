#include <stdint.h>

static void need_file(const char *path)
{
	errno = 0;
	if (access(path, F_OK))
		skip_all(path);
}

static int compact_memory(void)
{
	int fd = open("/proc/sys/vm/compact_memory", O_WRONLY | O_CLOEXEC);
	long done = write(fd, "1", 1);

	close(fd);
	return done == 1 ? 0 : -1;
}

static int scan_pages(void)
{
	int fd = open("/sys/kernel/mm/page_idle/bitmap", O_RDONLY | O_CLOEXEC);
	uint64_t block[512];
	ssize_t got;

	do {
		got = read(fd, block, sizeof(block));
	} while (got > 0);
	close(fd);
	return got;
}
