declare module 'systemd-notify' {
  /** Runs systemd-notify(1) with these options. */
  function notify(options: { ready?: boolean; status?: string; pid?: number }): Promise<void>;
  export default notify;
}
