/** Body of Docker's `POST /containers/create`, as far as sitegen sets it. */
export interface ContainerSpec {
  Image: string;
  Hostname: string;
  Env: string[];
  Labels: Record<string, string>;
  /** Seconds, for whoever stops it by Docker's own means. */
  StopTimeout: number;
  /** None of the image's own: it would be work without visitors, and hang while the container is frozen. */
  Healthcheck: { Test: ['NONE'] };
  HostConfig: {
    NetworkMode: string;
    CgroupParent: string;
    Memory?: number;
    PidsLimit?: number;
    Mounts: { Type: 'bind'; Source: string; Target: string; ReadOnly: boolean; BindOptions: { CreateMountpoint: false } }[];
    LogConfig: { Type: 'journald'; Config: Record<string, string> };
    CapDrop: string[];
    CapAdd: string[];
    SecurityOpt: string[];
    ReadonlyRootfs?: true;
    /** Options by path. */
    Tmpfs?: Record<string, string>;
    /** `name:address`, for /etc/hosts. */
    ExtraHosts?: string[];
    RestartPolicy: { Name: 'no' };
  };
  NetworkingConfig: { EndpointsConfig: Record<string, { IPAMConfig: { IPv4Address: string } }> };
}

/** What images for the web need while they start as root and then drop it themselves. */
export const capabilities = ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'NET_BIND_SERVICE', 'SETGID', 'SETUID'];

/** What can be written all the same where the root cannot: what podman-run(1) has for --read-only-tmpfs, but for /dev. */
export const writable = ['/run', '/tmp', '/var/tmp'];
