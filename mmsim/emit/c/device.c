#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <linux/fuse.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define LARGEST_IO (128 << 10)

/* A slow device: a file of a FUSE file system that answers when told. */
struct device {
	const char *directory;
	int server;		/* /dev/fuse */
	int file;		/* opened for direct I/O */
	char *contents;		/* what the last write left */
};

static struct {
	struct fuse_in_header header;
	char body[LARGEST_IO + PAGE_SIZE];
} request;

static void reply(struct device *device, int error, const void *data, size_t length)
{
	static char message[sizeof(struct fuse_out_header) + LARGEST_IO];
	struct fuse_out_header *header = (struct fuse_out_header *)message;

	header->len = sizeof(*header) + length;
	header->error = error;
	header->unique = request.header.unique;
	memcpy(message + sizeof(*header), data, length);
	if (write(device->server, message, header->len) < 0)
		perror("# /dev/fuse");
}

static struct fuse_attr attributes_of(unsigned long node)
{
	struct fuse_attr attributes = { .ino = node, .nlink = 1, .uid = getuid(), .gid = getgid() };

	attributes.mode = node == FUSE_ROOT_ID ? S_IFDIR | 0700 : S_IFREG | 0600;
	attributes.size = node == FUSE_ROOT_ID ? 0 : 1UL << 40;
	return attributes;
}

/* Everything that FUSE asks beside reads and writes. */
static void keep_house(struct device *device)
{
	struct fuse_init_out init = { .major = 7, .minor = 31, .flags = FUSE_ASYNC_DIO | FUSE_BIG_WRITES };
	struct fuse_entry_out entry = { .nodeid = 2, .entry_valid = 1 << 30, .attr_valid = 1 << 30 };
	struct fuse_attr_out attributes = { .attr_valid = 1 << 30 };
	struct fuse_open_out opened = { .open_flags = FOPEN_DIRECT_IO };

	switch (request.header.opcode) {
	case FUSE_INIT:
		init.max_write = LARGEST_IO;
		init.max_background = 64;
		reply(device, 0, &init, sizeof(init));
		break;
	case FUSE_LOOKUP:
		entry.attr = attributes_of(2);
		reply(device, 0, &entry, sizeof(entry));
		break;
	case FUSE_GETATTR:
		attributes.attr = attributes_of(request.header.nodeid);
		reply(device, 0, &attributes, sizeof(attributes));
		break;
	case FUSE_OPEN:
		reply(device, 0, &opened, sizeof(opened));
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break;
	default:
		reply(device, request.header.opcode == FUSE_RELEASE ? 0 : -ENOSYS, NULL, 0);
	}
}

/* The next read or write that waits to be answered; false if none came in time. */
static int receive(struct device *device, int milliseconds)
{
	struct pollfd waiting = { .fd = device->server, .events = POLLIN };

	while (poll(&waiting, 1, milliseconds) > 0) {
		if (read(device->server, &request, sizeof(request)) < 0)
			continue;
		if (request.header.opcode == FUSE_READ || request.header.opcode == FUSE_WRITE)
			return 1;
		keep_house(device);
	}
	return 0;
}

/* Opens the file and writes a byte, so that all that is asked once has been asked. */
static void *open_file(void *argument)
{
	struct device *device = argument;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/file", device->directory);
	fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	close(dup(fd));
	if (pwrite(fd, "", 1, 0) != 1)
		perror("# the slow device");
	device->file = fd;
	return NULL;
}

static void device_open(struct device *device)
{
	struct fuse_write_out written = { .size = 1 };
	char options[128];
	pthread_t opener;

	device->server = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	device->contents = mmap(NULL, LARGEST_IO, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (device->server < 0)
		skip_all("the slow device needs /dev/fuse");
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=%d,group_id=%d",
		 device->server, getuid(), getgid());
	if (mkdir(device->directory, 0700) ||
	    mount("fuse", device->directory, "fuse", MS_NOSUID | MS_NODEV, options))
		skip_all("the slow device needs a FUSE mount");
	pthread_create(&opener, NULL, open_file, device);
	if (!receive(device, 5000))
		skip_all("the slow device does not open");
	reply(device, 0, &written, sizeof(written));
	pthread_join(opener, NULL);
}

/* Until the device has a request, whose pages are pinned then. */
static void device_has_request(struct device *device)
{
	struct pollfd waiting = { .fd = device->server, .events = POLLIN };

	poll(&waiting, 1, 1000);
}

/* The device answers its oldest read: the data goes into the pinned pages. */
static long device_answers(struct device *device, const char *data)
{
	struct fuse_read_in *read_in = (struct fuse_read_in *)request.body;

	if (!receive(device, 1000) || request.header.opcode != FUSE_READ)
		return -ENOMSG;
	reply(device, 0, data, read_in->size);
	return read_in->size;
}

/* The device takes its oldest write: only now it looks into the pinned pages. */
static long device_takes(struct device *device)
{
	struct fuse_write_in *write_in = (struct fuse_write_in *)request.body;
	struct fuse_write_out written = { 0 };

	if (!receive(device, 1000) || request.header.opcode != FUSE_WRITE)
		return -ENOMSG;
	written.size = write_in->size;
	memcpy(device->contents, write_in + 1, write_in->size);
	reply(device, 0, &written, sizeof(written));
	return written.size;
}

static long device_contents(struct device *device, size_t length)
{
	memcpy(bytes, device->contents, length);
	return length;
}
