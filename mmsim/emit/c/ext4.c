#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

/* A loop device that goes away with its last user. */
static int mount_image(const char *image, const char *directory)
{
	struct loop_config config = { .info.lo_flags = LO_FLAGS_AUTOCLEAR };
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), file = open(image, O_RDWR | O_CLOEXEC);
	int loop = -1, done = -1;
	char path[32];

	config.fd = file;
	for (int tries = 0; control >= 0 && file >= 0 && tries < 20; tries++) {
		snprintf(path, sizeof(path), "/dev/loop%d", ioctl(control, LOOP_CTL_GET_FREE));
		loop = open(path, O_RDWR | O_CLOEXEC);
		if (loop < 0 || !ioctl(loop, LOOP_CONFIGURE, &config) || errno != EBUSY)
			break;
		close(loop);	/* another program was faster */
		loop = -1;
	}
	if (loop >= 0)
		done = mount(path, directory, "ext4", 0, NULL);
	if (loop >= 0)
		close(loop);
	close(file);
	close(control);
	return done;
}

static void mount_ext4(const char *directory, const char *image)
{
	char command[128];
	int fd = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, 16 << 20) || mkdir(directory, 0700))
		skip_all("no disk can be made");
	close(fd);
	snprintf(command, sizeof(command), "PATH=$PATH:/sbin:/usr/sbin mkfs.ext4 -q -F -b 4096 %s 2>/dev/null", image);
	errno = 0;
	if (system(command))
		skip_all("mkfs.ext4 is missing or fails");
	if (mount_image(image, directory))
		skip_all("an ext4 on a loop device cannot be mounted");
}

/* What a copy of the disk, mounted afresh, has in the file. */
static long disk_contents(const char *image, const char *name)
{
	int from = open(image, O_RDONLY), to = open("/tmp/copy", O_RDWR | O_CREAT | O_TRUNC, 0600), fd;
	char path[128], block[PAGE_SIZE];
	ssize_t got;

	while ((got = read(from, block, sizeof(block))) > 0)
		if (write(to, block, got) != got)
			return -1;
	close(from);
	close(to);
	mkdir("/tmp/fresh", 0700);
	if (mount_image("/tmp/copy", "/tmp/fresh"))
		return -1;
	snprintf(path, sizeof(path), "/tmp/fresh/%s", name);
	fd = open(path, O_RDONLY);
	got = fd < 0 ? 0 : read(fd, bytes, sizeof(bytes));
	close(fd);
	umount("/tmp/fresh");
	return got;
}
