// SPDX-License-Identifier: GPL-2.0-only
/* A program for logs of strace: memfds, seals, mappings and processes.  `make`-less: cc -o frames frames.c */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
#define MFD_NOEXEC_SEAL_ 8U

static void seal(int fd, int seals)
{
	fcntl(fd, F_ADD_SEALS, seals);
	fcntl(fd, F_GET_SEALS);
}

static void try_all(int fd)
{
	char path[40];
	struct stat st;
	void *p;
	int other;

	pwrite(fd, "x", 1, 0);
	ftruncate(fd, 3 * PAGE);
	ftruncate(fd, PAGE);
	fallocate(fd, 0, 0, 4 * PAGE);
	fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE);
	fchmod(fd, 0640);
	fstat(fd, &st);
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED)
		munmap(p, PAGE);
	p = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED) {
		mprotect(p, PAGE, PROT_READ | PROT_WRITE);
		munmap(p, 2 * PAGE);
	}
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (p != MAP_FAILED)
		munmap(p, PAGE);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	other = open(path, O_RDONLY);
	lseek(other, 2, SEEK_SET);
	read(other, path, 8);
	mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);
	close(other);
}

int main(void)
{
	static const int seals[] = { 0, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE, F_SEAL_FUTURE_WRITE, 0x20, F_SEAL_SEAL };
	char *p, *q;
	int fd, other, i;

	for (i = 0; i < 7; i++) {
		fd = memfd_create("frame", MFD_ALLOW_SEALING | MFD_CLOEXEC);
		ftruncate(fd, 2 * PAGE);
		write(fd, "hello\n", 6);
		seal(fd, seals[i]);
		try_all(fd);
		seal(fd, F_SEAL_SHRINK);
		close(fd);
	}
	fd = memfd_create("plain", 0);
	seal(fd, F_SEAL_WRITE);
	close(fd);
	memfd_create("wrong", 0x100);
	fd = memfd_create("guarded", MFD_NOEXEC_SEAL_);
	fchmod(fd, 0777);
	close(fd);
	write(fd, "gone", 4);

	fd = memfd_create("shared", MFD_ALLOW_SEALING);
	ftruncate(fd, 4 * PAGE);
	p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	p[0] = 1;
	other = dup(fd);
	close(fd);
	if (!fork()) {
		munmap(p, 4 * PAGE);
		fcntl(other, F_ADD_SEALS, F_SEAL_WRITE);
		_exit(0);
	}
	wait(NULL);
	munmap(p + PAGE, PAGE);
	q = mremap(p + 2 * PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE);
	madvise(p, PAGE, MADV_DONTNEED);
	seal(other, F_SEAL_WRITE);
	munmap(p, 4 * PAGE);
	seal(other, F_SEAL_WRITE);
	munmap(q, 2 * PAGE);
	seal(other, F_SEAL_WRITE);
	return 0;
}
