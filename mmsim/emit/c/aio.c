#include <linux/aio_abi.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

/* An asynchronous direct I/O. */
struct io {
	struct iocb iocb;
	long result;
	int over;
};

/* This process's io_setup(). */
static aio_context_t aio_context(void)
{
	static aio_context_t context;
	static pid_t owner;

	if (owner != getpid()) {
		context = 0;
		owner = getpid();
		if (syscall(SYS_io_setup, 16, &context))
			perror("# io_setup");
	}
	return context;
}

/* Whatever has been completed. */
static void take_events(int wait)
{
	struct timespec soon = { .tv_nsec = wait ? 1000000 : 0 };
	struct io_event event;

	while (syscall(SYS_io_getevents, aio_context(), wait, 1, &event, &soon) == 1) {
		struct io *io = (struct io *)(uintptr_t)event.data;

		io->result = event.res;
		io->over = 1;
		wait = 0;
	}
}

static int submit(struct io *io, int opcode, struct device *device, void *address, size_t length)
{
	struct iocb *iocb = &io->iocb;

	*io = (struct io){ .iocb = { .aio_data = (uintptr_t)io, .aio_lio_opcode = opcode } };
	iocb->aio_fildes = device->file;
	iocb->aio_buf = (uintptr_t)address;
	iocb->aio_nbytes = length;
	if (syscall(SYS_io_submit, aio_context(), 1, &iocb) != 1)
		*io = (struct io){ .over = 1, .result = -errno };
	else
		take_events(0);
	if (!io->over || io->result >= 0)
		return 0;
	errno = -io->result;	/* such as EFAULT: the buffer could not be pinned */
	return -1;
}

/* io_submit() of a direct read: the buffer is pinned when it returns. */
static int submit_read(struct io *io, struct device *device, void *address, size_t length)
{
	return submit(io, IOCB_CMD_PREAD, device, address, length);
}

static int submit_write(struct io *io, struct device *device, void *address, size_t length)
{
	return submit(io, IOCB_CMD_PWRITE, device, address, length);
}

static long wait_for(struct io *io)
{
	while (!io->over)
		take_events(1);
	return io->result;
}
