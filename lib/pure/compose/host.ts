/** What the admin may allow a service to have of this machine: devices and published ports. */

export interface Device {
  PathOnHost: string;
  PathInContainer: string;
  CgroupPermissions: string;
}

/** `/dev/x`, `/dev/x:/dev/y` or `/dev/x:/dev/y:rwm`; undefined for another form. */
export function readDevice(given: unknown): Device | undefined {
  const [, host, inside, permissions] = /^(\/dev\/[^:]+?)(?::(\/[^:]+))?(?::([rwm]{1,3}))?$/.exec(typeof given === 'string' ? given : '') ?? [];
  return host === undefined || host.split('/').includes('..') ? undefined : { PathOnHost: host, PathInContainer: inside ?? host, CgroupPermissions: permissions ?? 'rwm' };
}

export interface PublishedPort {
  /** As Docker has it: `80/tcp`. */
  inside: string;
  HostIp: string;
  HostPort: string;
}

/** `8080:80`, `127.0.0.1:8080:80`, either with `/udp`; undefined for another form. */
export function readPort(given: unknown): PublishedPort | undefined {
  const [, ip, host, inside, protocol] = /^(?:(\d+\.\d+\.\d+\.\d+):)?(\d{1,5}):(\d{1,5})(?:\/(tcp|udp))?$/.exec(typeof given === 'string' ? given : '') ?? [];
  return host === undefined ? undefined : { inside: `${inside ?? host}/${protocol ?? 'tcp'}`, HostIp: ip ?? '', HostPort: host };
}
