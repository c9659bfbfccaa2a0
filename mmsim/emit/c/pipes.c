#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* One piece of memory into a pipe. */
static long give(int pipe, void *address, size_t length, unsigned int flags)
{
	struct iovec vector = { .iov_base = address, .iov_len = length };

	return vmsplice(pipe, &vector, 1, flags);
}

static loff_t position;

static loff_t *at(loff_t offset)
{
	position = offset;
	return &position;
}
