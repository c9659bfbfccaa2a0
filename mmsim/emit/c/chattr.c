#include <linux/fs.h>
#include <sys/ioctl.h>

static int chattr(int fd, int flags)
{
	int all;

	if (ioctl(fd, FS_IOC_GETFLAGS, &all))
		return -1;
	all = (all & ~FS_IMMUTABLE_FL) | flags;
	return ioctl(fd, FS_IOC_SETFLAGS, &all);
}
