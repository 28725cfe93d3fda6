import org.apache.activemq.artemis.core.config.impl.ConfigurationImpl;
import org.apache.activemq.artemis.core.server.embedded.EmbeddedActiveMQ;

// Apache ActiveMQ Artemis on a port, with everything in memory and open to everybody. It takes
// small frames and few messages at a time, and wants to hear something twice a second.
public class Artemis {
  public static void main(String[] args) throws Exception {
    ConfigurationImpl c = new ConfigurationImpl();
    c.setPersistenceEnabled(false);
    c.setSecurityEnabled(false);
    c.setJournalDirectory(args[1]);
    c.addAcceptorConfiguration("amqp", "tcp://127.0.0.1:" + args[0]
        + "?protocols=AMQP;amqpCredits=10;amqpLowCredits=3;maxFrameSize=4096;amqpIdleTimeout=1000");
    EmbeddedActiveMQ server = new EmbeddedActiveMQ();
    server.setConfiguration(c);
    server.start();
    System.out.println("ready");
    System.in.read(); // until the test ends
    System.exit(0);
  }
}
