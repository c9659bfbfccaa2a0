#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <sys/uio.h>

/* A buffer registered with a ring of its own. */
struct buffer {
	int ring;
	char *address;
	size_t length;
	struct io_uring_sqe *sqes;
	char *rings;
	struct io_uring_params params;
};

static int ring_open(struct buffer *buffer)
{
	struct io_uring_params *params = &buffer->params;
	size_t entries, size;

	memset(params, 0, sizeof(*params));
	buffer->ring = syscall(SYS_io_uring_setup, 4, params);
	if (buffer->ring < 0)
		return -1;
	entries = params->sq_entries * sizeof(struct io_uring_sqe);
	size = params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe);
	if (size < params->sq_off.array + params->sq_entries * sizeof(unsigned int))
		size = params->sq_off.array + params->sq_entries * sizeof(unsigned int);
	buffer->sqes = mmap(NULL, entries, PROT_READ | PROT_WRITE, MAP_SHARED, buffer->ring, IORING_OFF_SQES);
	buffer->rings = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, buffer->ring, IORING_OFF_SQ_RING);
	return buffer->sqes == MAP_FAILED || (void *)buffer->rings == MAP_FAILED ? -1 : 0;
}

/* The ring is this program's means, not what it tests. */
static void need_io_uring(void)
{
	struct buffer buffer;

	if (ring_open(&buffer) || !(buffer.params.features & IORING_FEAT_SINGLE_MMAP))
		skip_all("io_uring is refused");
	close(buffer.ring);
}

static int register_buffer(struct buffer *buffer, void *address, size_t length)
{
	struct iovec vector = { .iov_base = address, .iov_len = length };

	buffer->address = address;
	buffer->length = length;
	if (ring_open(buffer))
		return -1;
	return syscall(SYS_io_uring_register, buffer->ring, IORING_REGISTER_BUFFERS, &vector, 1);
}

static int unregister_buffer(struct buffer *buffer)
{
	return syscall(SYS_io_uring_register, buffer->ring, IORING_UNREGISTER_BUFFERS, NULL, 0);
}

static struct io_uring_cqe *completed(struct buffer *buffer)
{
	struct io_uring_params *params = &buffer->params;
	unsigned int *head = (unsigned int *)(buffer->rings + params->cq_off.head);
	unsigned int *tail = (unsigned int *)(buffer->rings + params->cq_off.tail);
	struct io_uring_cqe *cqes = (struct io_uring_cqe *)(buffer->rings + params->cq_off.cqes);

	if (*head == __atomic_load_n(tail, __ATOMIC_ACQUIRE))
		return NULL;
	return cqes + (*head & (params->cq_entries - 1));
}

/* IORING_OP_READ_FIXED into the whole buffer; a worker of the kernel brings it to the device. */
static int submit_read_fixed(struct buffer *buffer, struct device *device)
{
	struct io_uring_params *params = &buffer->params;
	unsigned int *tail = (unsigned int *)(buffer->rings + params->sq_off.tail);
	unsigned int slot = *tail & (params->sq_entries - 1);

	buffer->sqes[slot] = (struct io_uring_sqe){ .opcode = IORING_OP_READ_FIXED, .fd = device->file };
	buffer->sqes[slot].flags = IOSQE_ASYNC;	/* or FUSE answers it before io_uring_enter() returns */
	buffer->sqes[slot].addr = (unsigned long)buffer->address;
	buffer->sqes[slot].len = buffer->length;
	((unsigned int *)(buffer->rings + params->sq_off.array))[slot] = slot;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	return syscall(SYS_io_uring_enter, buffer->ring, 1, 0, 0, NULL, 0) == 1 ? 0 : -1;
}

static long wait_for_fixed(struct buffer *buffer)
{
	unsigned int *head = (unsigned int *)(buffer->rings + buffer->params.cq_off.head);
	struct io_uring_cqe *cqe;
	long result;

	while (!(cqe = completed(buffer)))
		syscall(SYS_io_uring_enter, buffer->ring, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0);
	result = cqe->res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return result;
}
