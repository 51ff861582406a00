import { judgeBridge, judgeCgroupDriver, judgeDocker, judgeLog, judgeNetwork, judgeRanges, judgeSilentDocker, judgeStorage } from '../../../../lib/pure/doctor/docker.ts';
import { judges } from './_verdicts.ts';

judges('Docker of Debian 12', judgeDocker({ version: '20.10.24+dfsg1' }), ['ok', /20\.10/]);
judges('an old Docker', judgeDocker({ version: '19.03.8' }), ['error', /too old/]);
judges('a Docker that does not answer', judgeSilentDocker('Docker does not answer'), ['error', /does not answer/, 'start']);
judges('systemd\'s cgroups', judgeCgroupDriver({ cgroupDriver: 'systemd', cgroupVersion: '2' }), ['ok', /systemd/]);
judges('Docker\'s own cgroups', judgeCgroupDriver({ cgroupDriver: 'cgroupfs', cgroupVersion: '2' }), ['error', /cgroupfs/]);
judges('cgroup v1', judgeCgroupDriver({ cgroupDriver: 'systemd', cgroupVersion: '1' }), ['error', /v1/]);
for (const storageDriver of ['overlay2', 'overlayfs', 'btrfs', 'zfs', 'fuse-overlayfs']) judges(storageDriver, judgeStorage({ storageDriver }), ['ok', new RegExp(storageDriver)]);
judges('vfs', judgeStorage({ storageDriver: 'vfs' }), ['warning', /copies/]);
judges('devicemapper', judgeStorage({ storageDriver: 'devicemapper' }), ['warning', /no longer maintained/]);
judges('journald', judgeLog({ logDrivers: ['json-file', 'journald'] }), ['ok', /journald/]);
judges('no journald', judgeLog({ logDrivers: ['json-file'] }), ['error', /journald/]);

const network = { subnet: '10.214.0.0/16', bridge: 'sitegen0', connected: false, containers: 3 };
const wanted = { subnet: '10.214.0.0/16', bridge: 'sitegen0' };
judges('the network of all sites', judgeNetwork({ network }, wanted), ['ok', /10\.214/]);
judges('no network', judgeNetwork({ network: undefined }, wanted), ['error', /missing/, 'apply']);
judges('a stranger\'s network', judgeNetwork({ network: { ...network, bridge: '' } }, wanted), ['error', /not sitegen's/]);
judges('a network whose containers reach each other', judgeNetwork({ network: { ...network, connected: true } }, wanted), ['error', /not sitegen's/]);
judges('another range', judgeNetwork({ network: { ...network, subnet: '10.9.0.0/16' } }, wanted), ['error', /range 10\.9/]);
judges('few containers', judgeBridge({ network }), ['ok', /^3 /]);
judges('many containers', judgeBridge({ network: { ...network, containers: 900 } }), ['warning', /900/]);
judges('too many containers', judgeBridge({ network: { ...network, containers: 1010 } }), ['error', /1010/]);
judges('no bridge yet', judgeBridge({ network: undefined }), ['ok', /^0 /]);

const ranges = { sites: '10.213.0.0/16', containers: '10.214.0.0/16' };
judges('ranges of our own', judgeRanges(ranges, [{ range: '172.17.0.0/16', user: 'x' }]), ['ok', /nobody else/]);
judges('a network of Docker inside one of ours', judgeRanges(ranges, [{ range: '10.214.7.0/24', user: 'Docker\'s network "shop"' }]), ['error', /containers 10\.214\.0\.0\/16 is in use by Docker's network "shop" \(10\.214\.7/]);
judges('a route over both of ours', judgeRanges(ranges, [{ range: '10.208.0.0/12', user: 'a route through wg0' }]), ['error', /sites .*wg0/], ['error', /containers .*wg0/]);
judges('ranges that overlap each other', judgeRanges({ sites: '10.0.0.0/8', containers: '10.214.0.0/16' }, []), ['error', /overlap/]);
