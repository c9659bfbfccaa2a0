#include <linux/udmabuf.h>
#include <sys/ioctl.h>

static int udmabuf = -1;

static void need_udmabuf(void)
{
	udmabuf = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	if (udmabuf < 0)
		skip_all("/dev/udmabuf");
}

static int udmabuf_create(int memfd, size_t offset, size_t length)
{
	struct udmabuf_create create = { .memfd = memfd, .offset = offset, .size = length };

	return ioctl(udmabuf, UDMABUF_CREATE, &create);
}
