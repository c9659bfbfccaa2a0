#include <sys/uio.h>

static long write_process(pid_t pid, char *address, char *data, size_t length)
{
	struct iovec from = { .iov_base = data, .iov_len = length };
	struct iovec to = { .iov_base = address, .iov_len = length };

	return process_vm_writev(pid, &from, 1, &to, 1, 0);
}
